"""What both endpoints' answers have in common."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vajra.gateway.request import Delta, Usage

MAX_PROMPTS = 1024


@dataclass(frozen=True)
class Envelope:
    """The fields around the choices."""

    id: str
    created: int  # Unix time in seconds
    model: str
    logprobs: bool
    choices_per_prompt: int
    include_usage: bool


class Answer(abc.ABC):
    """Turns deltas into the JSON of one endpoint."""

    envelope: Envelope
    object: str
    chunk_object: str

    @abc.abstractmethod
    def chunk_choice(self, delta: Delta) -> dict[str, Any]:
        """One delta as the choice of an event."""

    @abc.abstractmethod
    def choice(self, whole: Delta) -> dict[str, Any]:
        """A choice that has ended, all its deltas merged."""

    def whole(self, deltas: Iterable[Delta]) -> dict[str, Any]:
        """The answer without a stream."""
        ordered = sorted(deltas, key=lambda delta: delta.index)
        usages = {delta.index: delta.usage for delta in ordered}
        return {
            **self._head(self.object),
            "choices": [self.choice(delta) | _ledger(delta) for delta in ordered],
            "usage": self._usage(usages),
        }

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """One event of a stream."""
        event = {**self._head(self.chunk_object), "choices": [self.chunk_choice(delta) | _ledger(delta)]}
        if self.envelope.include_usage:
            event["usage"] = None
        return event

    def usage_chunk(self, usages: dict[int, Usage | None]) -> dict[str, Any]:
        """The event behind the last one, for stream_options.include_usage."""
        return {**self._head(self.chunk_object), "choices": [], "usage": self._usage(usages)}

    def _head(self, kind: str) -> dict[str, Any]:
        envelope = self.envelope
        return {"id": envelope.id, "object": kind, "created": envelope.created, "model": envelope.model}

    def _usage(self, usages: dict[int, Usage | None]) -> dict[str, Any]:
        """Each prompt counts once, whatever n is."""
        known = {index: usage for index, usage in usages.items() if usage is not None}
        n = self.envelope.choices_per_prompt
        prompt = sum(usage.prompt_tokens for index, usage in known.items() if index % n == 0)
        completion = sum(usage.completion_tokens for usage in known.values())
        counts: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        if any(usage.inexact for usage in known.values()):
            counts["inexact"] = True  # a resume crossed numerics fingerprints
        return counts


def _ledger(delta: Delta) -> dict[str, Any]:
    """With a choice's end, where it was asked for."""
    if not delta.ledger:
        return {}
    return {"ledger": [{k: v for k, v in asdict(stay).items() if v is not None} for stay in delta.ledger]}

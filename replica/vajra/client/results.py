"""What comes back: deltas as they arrive, and whole results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from vajra.client.params import Prompt
from vajra.gateway.ledger import Ahead as Ahead
from vajra.gateway.ledger import Stay as Stay

FinishReason = Literal["stop", "length", "aborted"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithms of probabilities at one position, of the model's own distribution."""

    logprob: float  # of the chosen token
    alternatives: tuple[tuple[int, float], ...] = ()  # (token id, logprob) of the likeliest, best first


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts and times (seconds) of one choice."""

    prompt_tokens: int
    completion_tokens: int
    queue_time: float = 0.0  # from arrival to the first chunk of the prompt
    prefill_time: float = 0.0  # from the first chunk to the first token
    preemptions: int = 0
    failovers: int = 0
    inexact: bool = False  # a resume crossed numerics fingerprints: the tail may differ from an undisturbed run


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new since the previous delta of the same choice. `finish_reason` and `usage` come with the last."""

    index: int  # which of the n choices
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    matched_stop: str | int | None = None  # the stop string or token id that ended it
    usage: Usage | None = None
    ledger: tuple[Stay, ...] = ()  # with the last, if asked for: where the time went


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished choice."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]  # one per token, empty if not asked for
    finish_reason: FinishReason
    matched_stop: str | int | None
    usage: Usage
    ledger: tuple[Stay, ...] = ()  # if asked for: one for each replica that had it


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """All choices of one prompt, in order of their index. `text`, `token_ids`, … are the first choice's."""

    prompt: Prompt
    completions: tuple[Completion, ...]

    @property
    def text(self) -> str:
        return self.completions[0].text

    @property
    def token_ids(self) -> tuple[int, ...]:
        return self.completions[0].token_ids

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        return self.completions[0].logprobs

    @property
    def finish_reason(self) -> FinishReason:
        return self.completions[0].finish_reason

    @property
    def usage(self) -> Usage:
        return self.completions[0].usage


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The served model."""

    name: str
    max_context_tokens: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    num_layers: int
    dtype: str
    fingerprint: str  # two replicas of one fingerprint give the same bits


@dataclass
class Accumulator:
    """Joins the deltas of one request into its result."""

    prompt: Prompt
    _deltas: dict[int, list[Delta]] = field(default_factory=dict)

    def add(self, delta: Delta) -> None:
        self._deltas.setdefault(delta.index, []).append(delta)

    def add_all(self, deltas: Iterable[Delta]) -> GenerationResult:
        for delta in deltas:
            self.add(delta)
        return self.result()

    def result(self) -> GenerationResult:
        """Raises ValueError when a choice has not ended."""
        return GenerationResult(self.prompt, tuple(_join(self._deltas[index]) for index in sorted(self._deltas)))


def _join(deltas: list[Delta]) -> Completion:
    last = deltas[-1]
    if last.finish_reason is None or last.usage is None:
        raise ValueError(f"choice {last.index} has not ended")
    return Completion(
        index=last.index,
        text="".join(d.text for d in deltas),
        token_ids=tuple(t for d in deltas for t in d.token_ids),
        logprobs=tuple(p for d in deltas for p in d.logprobs),
        finish_reason=last.finish_reason,
        matched_stop=last.matched_stop,
        usage=last.usage,
        ledger=last.ledger,
    )

"""Whom a benchmark asks: any OpenAI-compatible server here, the offline engine in `offline.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from vajra.cli.benchmark.workload import BenchmarkRequest
from vajra.cli.openai_client import OpenAIClient


@dataclass(frozen=True)
class Progress:
    """What one message brought. Counts are the server's, where it gave them."""

    is_token: bool
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class Target(Protocol):
    """Answers requests. An exception's text becomes the reason in the report."""

    def send(self, request: BenchmarkRequest) -> AsyncIterator[Progress]: ...


@dataclass(frozen=True)
class OpenAITarget:
    """/v1/completions, or /v1/chat/completions for text."""

    client: OpenAIClient
    model: str
    chat: bool = False
    ignore_eos: bool = True  # with min_tokens: an answer is as long as the workload says
    extra: dict[str, Any] = field(default_factory=dict)  # added to every request's body

    async def send(self, request: BenchmarkRequest) -> AsyncIterator[Progress]:
        async for event in self.client.stream(
            "/chat/completions" if self.chat else "/completions", self._body(request)
        ):
            yield self._progress(event)

    def _body(self, request: BenchmarkRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": request.max_tokens,
            "temperature": 0.0,
            "stream_options": {"include_usage": True},
        }
        if self.ignore_eos:
            body |= {"ignore_eos": True, "min_tokens": request.max_tokens}
        if self.chat:
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt if isinstance(request.prompt, str) else list(request.prompt)
        return body | self.extra

    def _progress(self, event: dict[str, Any]) -> Progress:
        usage = event.get("usage") or {}
        choices = event.get("choices") or []
        choice = choices[0] if choices else {}
        finish = choice.get("finish_reason")
        if self.chat:
            # The first delta carries only the role: not a token.
            delta = choice.get("delta") or {}
            is_token = bool(delta.get("content") or delta.get("reasoning_content"))
        else:
            # An event without text in the middle is a token whose text is held back (half a character, a special).
            is_token = bool(choice) and (bool(choice.get("text")) or finish is None)
        return Progress(is_token, finish, usage.get("prompt_tokens"), usage.get("completion_tokens"))

"""POST /v1/completions: its request and its two forms of answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vajra.gateway.errors import InvalidRequest
from vajra.gateway.field_names import FieldNames
from vajra.gateway.openai.fields import Fields, checked_text, spelled, token_ids
from vajra.gateway.openai.protocol import MAX_PROMPTS, Answer, Envelope
from vajra.gateway.openai.sampling import SHARED, read_sampling, read_stream, spelled_fields
from vajra.gateway.request import Delta, GenerateRequestData, Prompt, TokenLogprob
from vajra.models import IncrementalDetokenizer, Tokenizer

DEFAULT_MAX_TOKENS = 16  # OpenAI's, for this endpoint
_KNOWN = (*SHARED, "prompt", "best_of", "echo", "suffix")


def read(body: Mapping[str, Any]) -> tuple[list[GenerateRequestData], bool, bool]:
    """(one request per prompt, stream, include_usage). Raises InvalidRequest."""
    fields = Fields(body, _KNOWN)
    fields.refuse("echo", "the prompt is not sent back; prepend it yourself", False)
    fields.refuse("suffix", "text is not inserted before another", "")
    values = read_sampling(fields)
    n = values["n"] or 1
    fields.refuse("best_of", "every choice that is generated is returned, so use n", 1, n)
    if values["max_tokens"] is None:
        values["max_tokens"] = max(DEFAULT_MAX_TOKENS, values["min_tokens"] or 0)
    logprobs, names = fields.integer("logprobs"), spelled_fields(fields)
    requests = [
        GenerateRequestData(prompt=prompt, names=FieldNames({**names, "prompt": path}), logprobs=logprobs, **values)
        for path, prompt in _prompts(fields)
    ]
    return requests, *read_stream(fields)


def _prompts(fields: Fields) -> list[tuple[str, Prompt]]:
    """(path, prompt) of each."""
    value = fields.get("prompt")
    expected = "a string, a list of strings, a list of token ids, or a list of such lists"
    if isinstance(value, str):
        return [("prompt", checked_text(value, "prompt"))]
    if not isinstance(value, list):
        raise fields.wrong("prompt", expected)
    if not value:
        raise InvalidRequest("prompt is empty; it must have at least one token", "prompt")
    if type(value[0]) is int:
        return [("prompt", token_ids(value, "prompt"))]
    if len(value) > MAX_PROMPTS:
        raise InvalidRequest(f"prompt has {len(value)} prompts; at most {MAX_PROMPTS} are allowed", "prompt")
    paths = [f"prompt[{i}]" for i in range(len(value))]
    return [(path, _prompt(item, path, expected)) for path, item in zip(paths, value, strict=True)]


def _prompt(item: Any, path: str, expected: str) -> Prompt:
    if isinstance(item, str):
        return checked_text(item, path)
    if isinstance(item, list):
        return token_ids(item, path)
    raise InvalidRequest(
        f"prompt must be {expected}; {path} is neither text nor token ids, it is {spelled(item)}", path
    )


@dataclass
class _Read:
    """How far a choice's tokens have been turned into text."""

    detokenizer: IncrementalDetokenizer
    characters: int = 0

    def advance(self, token: int) -> int:
        """The characters there were before the token."""
        before = self.characters
        self.characters += len(self.detokenizer.push((token,)))
        return before


@dataclass
class CompletionAnswer(Answer):
    """Text completions. `text_offset` is where in its choice's text the character begins that a token is (part of)."""

    envelope: Envelope
    tokenizer: Tokenizer
    _read: dict[int, _Read] = field(default_factory=dict)  # by choice

    object = "text_completion"
    chunk_object = "text_completion"

    def chunk_choice(self, delta: Delta) -> dict[str, Any]:
        return self._choice(delta)

    def choice(self, whole: Delta) -> dict[str, Any]:
        return self._choice(whole)

    def _choice(self, delta: Delta) -> dict[str, Any]:
        return {
            "index": delta.index,
            "text": delta.text,
            "logprobs": self._logprobs(delta.index, delta.logprobs) if self.envelope.logprobs else None,
            "finish_reason": None if delta.finish_reason is None else delta.finish_reason.value,
        }

    def _logprobs(self, index: int, entries: list[TokenLogprob]) -> dict[str, Any]:
        if index not in self._read:
            self._read[index] = _Read(self.tokenizer.detokenizer(continuation=True))
        offsets = [self._read[index].advance(entry.token_id) for entry in entries]
        return {
            "tokens": [self._name(entry.token_id) for entry in entries],
            "token_logprobs": [_finite(entry.logprob) for entry in entries],
            "top_logprobs": [{self._name(t): _finite(p) for t, p in entry.alternatives} for entry in entries],
            "text_offset": offsets,
        }

    def _name(self, token: int) -> str:
        """Its text; bytes that are no text on their own, and ids that stand for nothing, keep names apart."""
        data = self.tokenizer.token_bytes(token)
        if not data:
            return f"token_id:{token}"
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _finite(logprob: float) -> float:
    return max(logprob, -9999.0)

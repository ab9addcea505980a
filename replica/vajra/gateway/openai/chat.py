"""POST /v1/chat/completions: its request and its two forms of answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vajra.gateway.errors import InvalidRequest
from vajra.gateway.field_names import FieldNames
from vajra.gateway.openai.fields import Fields, checked_text
from vajra.gateway.openai.protocol import Answer, Envelope
from vajra.gateway.openai.sampling import SHARED, read_sampling, read_stream, spelled_fields
from vajra.gateway.request import Chat, Delta, GenerateRequestData, TokenLogprob
from vajra.models import Tokenizer

# Accepted for what they are: labels and hints that change no answer of this server.
_LABELS = ("metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
# field: (why not, values that ask for nothing)
_UNSUPPORTED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tools": ("this server calls no tools", ([],)),
    "tool_choice": ("this server calls no tools", ("none", "auto")),
    "parallel_tool_calls": ("this server calls no tools", (True, False)),
    "functions": ("this server calls no functions", ([],)),
    "function_call": ("this server calls no functions", ("none", "auto")),
    "response_format": ("output is not constrained", ({"type": "text"},)),
    "modalities": ("this server answers with text", (["text"],)),
    "audio": ("this server answers with text", ()),
    "prediction": ("predicted outputs are not used", ()),
    "reasoning_effort": ("models are served as they are", ()),
    "verbosity": ("models are served as they are", ("medium",)),
    "store": ("answers are not kept", (False,)),
    "service_tier": ("there is one tier", ("auto", "default")),
    "web_search_options": ("this server searches nothing", ()),
}
_KNOWN = (*SHARED, *_LABELS, *_UNSUPPORTED, "messages", "top_logprobs")
_MESSAGE = ("role", "content", "name", "refusal", "audio", "annotations", "function_call", "tool_calls", "tool_call_id")


def read(body: Mapping[str, Any]) -> tuple[list[GenerateRequestData], bool, bool]:
    """(the request, stream, include_usage). Raises InvalidRequest."""
    fields = Fields(body, _KNOWN)
    for name, (reason, defaults) in _UNSUPPORTED.items():
        fields.refuse(name, reason, *defaults)
    values = read_sampling(fields)
    messages = fields.get("messages")
    if not isinstance(messages, list):
        raise fields.wrong("messages", "a list of messages")
    chat = Chat(messages=[_message(message, f"messages[{i}]") for i, message in enumerate(messages)])
    names = FieldNames({**spelled_fields(fields), "prompt": "messages", "logprobs": "top_logprobs"})
    request = GenerateRequestData(prompt=chat, names=names, logprobs=_logprobs(fields), **values)
    return [request], *read_stream(fields)


def _logprobs(fields: Fields) -> int | None:
    top = fields.integer("top_logprobs")
    if not fields.boolean("logprobs"):
        if top:
            raise InvalidRequest("top_logprobs needs logprobs: true beside it", "top_logprobs")
        return None
    return top or 0


def _message(message: Any, path: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise InvalidRequest(f"{path} must be an object with role and content", path)
    fields = Fields(message, _MESSAGE, path)
    for name in ("name", "refusal", "audio", "annotations", "function_call", "tool_calls", "tool_call_id"):
        fields.refuse(name, "templates are given role and text only", *(([],) if name.endswith("s") else ()))
    role = fields.string("role")
    if role in ("tool", "function"):
        raise InvalidRequest(f"{path}.role is {role!r}, but this server calls no tools", f"{path}.role")
    return {"role": role or "", "content": _content(fields, path)}


def _content(fields: Fields, path: str) -> str:
    value = fields.get("content")
    if isinstance(value, str):
        return checked_text(value, f"{path}.content")
    if not isinstance(value, list):
        raise fields.wrong("content", "a string or a list of parts of type text")
    texts = []
    for i, part in enumerate(value):
        where = f"{path}.content[{i}]"
        if not isinstance(part, dict):
            raise InvalidRequest(f"{where} must be an object of type text", where)
        if part.get("type") != "text":
            raise InvalidRequest(f"{where}.type is {part.get('type')!r}; only text is supported", f"{where}.type")
        text = Fields(part, ("type", "text"), where).string("text")
        if text is None:
            raise InvalidRequest(f"{where}.text is missing", f"{where}.text")
        texts.append(text)
    return "\n".join(texts)


@dataclass
class ChatAnswer(Answer):
    """Chat completions."""

    envelope: Envelope
    tokenizer: Tokenizer
    _begun: set[int] = field(default_factory=set)

    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def chunk_choice(self, delta: Delta) -> dict[str, Any]:
        """The role comes with the first delta of a choice, so that one token is one event."""
        content: dict[str, Any] = {}
        if delta.index not in self._begun:
            self._begun.add(delta.index)
            content["role"] = "assistant"
        if delta.text or content:
            content["content"] = delta.text
        return self._choice("delta", content, delta)

    def choice(self, whole: Delta) -> dict[str, Any]:
        message = {"role": "assistant", "content": whole.text, "refusal": None}
        return self._choice("message", message, whole)

    def _choice(self, name: str, content: dict[str, Any], delta: Delta) -> dict[str, Any]:
        logprobs = None
        if self.envelope.logprobs:
            logprobs = {"content": [self._entry(entry) for entry in delta.logprobs], "refusal": None}
        return {
            "index": delta.index,
            name: content,
            "logprobs": logprobs,
            "finish_reason": None if delta.finish_reason is None else delta.finish_reason.value,
        }

    def _entry(self, entry: TokenLogprob) -> dict[str, Any]:
        top = [self._token(token, logprob) for token, logprob in entry.alternatives]
        return {**self._token(entry.token_id, entry.logprob), "top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        data = self.tokenizer.token_bytes(token)
        return {
            "token": self.tokenizer.token_text(token),
            "logprob": max(logprob, -9999.0),  # OpenAI's stand-in for minus infinity
            "bytes": list(data),
        }

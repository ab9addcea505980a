"""The fields that completions and chat completions share."""

from __future__ import annotations

from typing import Any

from vajra.gateway.errors import InvalidRequest
from vajra.gateway.openai.fields import Fields, checked_text, spelled, token_ids

SHARED = (
    *("model", "stream", "stream_options", "n", "seed", "stop", "max_tokens", "max_completion_tokens"),
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "user"),
    # Not OpenAI's, but common among servers of open models:
    *("top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos", "stop_token_ids"),
    *("ttft_target_seconds", "ledger"),  # of this server alone
)


def read_sampling(fields: Fields) -> dict[str, Any]:
    """Arguments of GenerateRequestData; ranges are the gateway's to check."""
    max_tokens, max_completion_tokens = fields.integer("max_tokens"), fields.integer("max_completion_tokens")
    if None not in (max_tokens, max_completion_tokens) and max_tokens != max_completion_tokens:
        raise InvalidRequest(
            f"max_tokens is {max_tokens} and max_completion_tokens is {max_completion_tokens}; they mean the same, "
            "send one of them",
            "max_tokens",
        )
    numbers = (
        *("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
        "ttft_target_seconds",
    )
    fields.string("user")  # names the caller's user: nothing to do, but it must be well-formed
    return {
        "stream": fields.boolean("stream"),
        **{name: fields.number(name) for name in numbers},
        **{name: fields.integer(name) for name in ("n", "top_k", "seed", "min_tokens")},
        "model": fields.string("model") or "",
        "max_tokens": max_completion_tokens if max_tokens is None else max_tokens,
        "logit_bias": _logit_bias(fields),
        "stop": _stop(fields),
        "stop_token_ids": _stop_token_ids(fields),
        "ignore_eos": fields.boolean("ignore_eos"),
        "ledger": fields.boolean("ledger"),
    }


def spelled_fields(fields: Fields) -> dict[str, str]:
    """The fields of GenerateRequestData that this body spells in its own way, for FieldNames."""
    newer = fields.get("max_tokens") is None and fields.get("max_completion_tokens") is not None
    return {"max_tokens": "max_completion_tokens"} if newer else {}


def read_stream(fields: Fields) -> tuple[bool, bool]:
    """(stream, whether to send usage at its end)."""
    stream = fields.boolean("stream")
    options = fields.object("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise InvalidRequest("stream_options is for streams; send it with stream: true only", "stream_options")
    inner = Fields(options, ("include_usage", "include_obfuscation"), "stream_options")
    inner.refuse("include_obfuscation", "events are not padded", False)
    return stream, inner.boolean("include_usage")


def _stop(fields: Fields) -> tuple[str, ...]:
    value = fields.get("stop")
    if value is None:
        return ()
    if isinstance(value, str):
        return (checked_text(value, "stop"),)
    if not isinstance(value, list):
        raise fields.wrong("stop", "a string or a list of strings")
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidRequest(f"stop[{i}] must be a string, it is {spelled(item)}", f"stop[{i}]")
    return tuple(checked_text(item, f"stop[{i}]") for i, item in enumerate(value))


def _stop_token_ids(fields: Fields) -> tuple[int, ...]:
    value = fields.get("stop_token_ids")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise fields.wrong("stop_token_ids", "a list of token ids")
    return tuple(token_ids(value, "stop_token_ids"))


def _logit_bias(fields: Fields) -> dict[int, float]:
    """OpenAI's keys are token ids written as strings."""
    value = fields.object("logit_bias")
    bias: dict[int, float] = {}
    for key, number in (value or {}).items():
        path = f"logit_bias.{key}"
        if not key.isascii() or not key.isdigit() or len(key) > 10:
            raise InvalidRequest(f'{path}: the key must be a token id, such as "50256"', "logit_bias")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidRequest(f"{path} must be a number from -100 to 100, it is {spelled(number)}", "logit_bias")
        bias[int(key)] = float(min(max(number, -1e30), 1e30))  # out of range, and refused, either way
    return bias

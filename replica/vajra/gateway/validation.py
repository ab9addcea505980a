"""Checks a request against the served model and fills in defaults. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vajra.gateway.errors import DeadlineExceeded, InvalidRequest, UnknownModel
from vajra.gateway.field_names import FieldNames
from vajra.gateway.request import GenerateRequestData, ModelInfo

MAX_CHOICES = 128
MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 16
MAX_STOP_LENGTH = 1024  # characters
MAX_STOP_TOKEN_IDS = 256
MAX_LOGIT_BIAS = 1024
MAX_REQUEST_ID = 256  # bytes
MAX_TTFT_TARGET = 86400.0  # seconds
_SEEDS = 1 << 64
_MIN_TEMPERATURE = 2.0**-20  # beside 0: about 1e-6

# field: (lowest, allowed itself?, highest)
_RANGES: dict[str, tuple[float, bool, float]] = {
    "temperature": (0.0, True, 100.0),
    "top_p": (0.0, False, 1.0),
    "min_p": (0.0, True, 1.0),
    "repetition_penalty": (0.0, False, 100.0),
    "presence_penalty": (-2.0, True, 2.0),
    "frequency_penalty": (-2.0, True, 2.0),
}
_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True, kw_only=True)
class Params:
    """A checked request's parameters, all set, but for what depends on the prompt's length and the seed."""

    n: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[int, float]
    seed: int | None
    max_tokens: int | None
    min_tokens: int
    stop: tuple[str, ...]
    stop_token_ids: tuple[int, ...]
    ignore_eos: bool
    logprobs: int | None
    detokenize: bool
    ledger: bool
    stream: bool
    ttft_target_seconds: float | None


def validate(request: GenerateRequestData, model: ModelInfo) -> Params:
    """Raises InvalidRequest, naming the field, UnknownModel or DeadlineExceeded. The prompt is `check_prompt`'s."""
    names = request.names
    if request.model and request.model != model.name and request.model not in model.aliases:
        raise UnknownModel(f"the model {request.model!r} is not served here; this server has {model.name!r}")
    if len(request.request_id.encode("utf-8", "replace")) > MAX_REQUEST_ID:
        name = names("request_id")
        raise InvalidRequest(f"{name} is longer than {MAX_REQUEST_ID} bytes", name)
    numbers = {name: _number(name, getattr(request, name), names(name)) for name in _RANGES}
    logprobs = None if request.logprobs is None else _integer(names("logprobs"), request.logprobs, 0, MAX_LOGPROBS)
    max_tokens = None if request.max_tokens is None else _integer(names("max_tokens"), request.max_tokens, 1, None)
    min_tokens = _integer(names("min_tokens"), request.min_tokens or 0, 0, None)
    if max_tokens is not None and min_tokens > max_tokens:
        name = names("min_tokens")
        raise InvalidRequest(f"{name} is {min_tokens}; it must not exceed {names('max_tokens')}, {max_tokens}", name)
    if request.timeout_seconds is not None and not request.timeout_seconds > 0:
        raise DeadlineExceeded("the deadline had passed when the request arrived")
    return Params(
        **numbers,
        n=_integer(names("n"), 1 if request.n is None else request.n, 1, MAX_CHOICES),
        top_k=min(_integer(names("top_k"), request.top_k or 0, 0, None), model.vocab_size),
        logit_bias=_logit_bias(request, model),
        seed=None if request.seed is None else _seed(request.seed, names("seed")),
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        stop=_stop(request),
        stop_token_ids=_stop_token_ids(request.stop_token_ids, model, names("stop_token_ids")),
        ignore_eos=request.ignore_eos,
        logprobs=logprobs,
        detokenize=request.detokenize,
        ledger=request.ledger,
        stream=request.stream,
        ttft_target_seconds=_ttft_target(request.ttft_target_seconds, names("ttft_target_seconds")),
    )


def check_prompt(ids: Sequence[int], model: ModelInfo, params: Params, names: FieldNames) -> int:
    """Checks a prompt's token ids and returns how many new tokens there may be. Raises InvalidRequest."""
    field = names("prompt")
    if not ids:
        raise InvalidRequest(f"{field} is empty; it must have at least one token", field)
    if min(ids) < 0 or max(ids) >= model.vocab_size:
        at = next(i for i, token in enumerate(ids) if not 0 <= token < model.vocab_size)
        raise InvalidRequest(
            f"{field}[{at}] is {ids[at]}; token ids of this model are 0 to {model.vocab_size - 1}", f"{field}[{at}]"
        )
    room = model.max_model_len - len(ids)
    if room < 1:
        raise InvalidRequest(
            f"{field} has {len(ids)} tokens; this model's context is {model.max_model_len} tokens for prompt and "
            f"continuation together, so a prompt may have at most {model.max_model_len - 1}",
            field,
        )
    if params.min_tokens > room:
        name = names("min_tokens")
        raise InvalidRequest(
            f"{name} is {params.min_tokens}, but a prompt of {len(ids)} tokens leaves room for {room} in this "
            f"model's context of {model.max_model_len}",
            name,
        )
    return room if params.max_tokens is None else min(params.max_tokens, room)


def _number(field: str, value: float | None, name: str) -> float:
    if value is None:
        return _DEFAULTS.get(field, 0.0)
    low, closed, high = _RANGES[field]
    if not (math.isfinite(value) and (value >= low if closed else value > low) and value <= high):
        raise InvalidRequest(f"{name} is {value:g}; it must be in {'[' if closed else '('}{low:g}, {high:g}]", name)
    if field == "temperature" and 0 < value < _MIN_TEMPERATURE:
        raise InvalidRequest(f"{name} is {value:g}; use 0 for greedy, or at least 1e-6", name)
    return float(value)


def _ttft_target(seconds: float | None, name: str) -> float | None:
    if seconds is not None and not 0 < seconds <= MAX_TTFT_TARGET:
        raise InvalidRequest(f"{name} is {seconds:g} seconds; it must be in (0, {MAX_TTFT_TARGET:g}]", name)
    return seconds


def _integer(name: str, value: int, low: int, high: int | None) -> int:
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"{low} to {high}"
        raise InvalidRequest(f"{name} is {value}; it must be {allowed}", name)
    return value


def _seed(seed: int, name: str) -> int:
    """Signed and unsigned 64-bit seeds are both welcome: OpenAI's are signed."""
    if not -(_SEEDS >> 1) <= seed < _SEEDS:
        raise InvalidRequest(f"{name} is {seed}; it must fit in 64 bits", name)
    return seed % _SEEDS


def _stop(request: GenerateRequestData) -> tuple[str, ...]:
    name = request.names("stop")
    if len(request.stop) > MAX_STOP_STRINGS:
        raise InvalidRequest(f"{name} has {len(request.stop)} strings; at most {MAX_STOP_STRINGS} are allowed", name)
    for i, text in enumerate(request.stop):
        if not 1 <= len(text) <= MAX_STOP_LENGTH:
            raise InvalidRequest(f"{name}[{i}] must have 1 to {MAX_STOP_LENGTH} characters, it has {len(text)}", name)
    if request.stop and not request.detokenize:
        raise InvalidRequest(
            f"{name} needs text, but only token ids were asked for; use {request.names('stop_token_ids')}", name
        )
    return tuple(dict.fromkeys(request.stop))


def _stop_token_ids(ids: Sequence[int], model: ModelInfo, name: str) -> tuple[int, ...]:
    if len(ids) > MAX_STOP_TOKEN_IDS:
        raise InvalidRequest(f"{name} has {len(ids)} ids; at most {MAX_STOP_TOKEN_IDS}", name)
    for token in ids:
        _token_id(name, token, model)
    return tuple(dict.fromkeys(ids))


def _logit_bias(request: GenerateRequestData, model: ModelInfo) -> dict[int, float]:
    name = request.names("logit_bias")
    if len(request.logit_bias) > MAX_LOGIT_BIAS:
        raise InvalidRequest(f"{name} has {len(request.logit_bias)} ids; at most {MAX_LOGIT_BIAS}", name)
    for token, bias in request.logit_bias.items():
        _token_id(name, token, model)
        if not -100.0 <= bias <= 100.0:
            raise InvalidRequest(f"{name}[{token}] is {bias:g}; it must be in [-100, 100]", name)
    return dict(request.logit_bias)


def _token_id(name: str, token: int, model: ModelInfo) -> None:
    if not 0 <= token < model.vocab_size:
        raise InvalidRequest(f"{name} has {token}; token ids of this model are 0 to {model.vocab_size - 1}", name)

"""From a RunRequest to parameters that an engine cannot refuse, or to a list of what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2
from vajra.worker.protocol import Ready


class InvalidRequest(ValueError):
    """Names every field that is wrong, its value, and what is allowed."""


@dataclass(frozen=True, slots=True)
class RunParams:
    """A checked request. `sampling` has the fields of vajra.engine.sampling.SamplingParams by name."""

    token_ids: list[int]
    num_prompt_tokens: int
    max_tokens: int
    sampling: dict[str, Any]
    age_seconds: float
    ttft_target_seconds: float | None
    ledger: bool  # whether to tell it with the first token
    tenant: str
    tenant_weight: float


# field: (lowest, lowest allowed itself?, highest)
_RANGES: dict[str, tuple[float, bool, float]] = {
    "temperature": (0.0, True, math.inf),
    "top_p": (0.0, False, 1.0),
    "min_p": (0.0, True, 1.0),
    "repetition_penalty": (0.0, False, math.inf),
    "presence_penalty": (-2.0, True, 2.0),
    "frequency_penalty": (-2.0, True, 2.0),
}


MIN_TEMPERATURE = 2.0**-20  # the engines' least beside 0, about 1e-6


def check_run(request: dispatch_pb2.RunRequest, model: Ready) -> RunParams:
    """Checks a request against the model that is served. Raises InvalidRequest."""
    problems: list[str] = []
    token_ids = list(request.token_ids)
    max_tokens = request.stopping.max_tokens
    _check_tokens(request, token_ids, max_tokens, model, problems)
    sampling = _sampling(request.sampling, model, problems)
    _check_stopping(request.stopping, model, problems)
    if request.HasField("logprobs") and request.logprobs > model.vocab_size:
        problems.append(f"logprobs is {request.logprobs}; it must be at most the vocabulary size, {model.vocab_size}")
    if not (math.isfinite(request.age_seconds) and request.age_seconds >= 0):
        problems.append(f"age_seconds is {request.age_seconds}; it must be finite and not negative")
    if request.HasField("ttft_target_seconds") and not math.isfinite(request.ttft_target_seconds):
        problems.append(f"ttft_target_seconds is {request.ttft_target_seconds}; it must be finite")
    weight = request.tenant_weight if request.HasField("tenant_weight") else 1.0
    if not (math.isfinite(weight) and weight > 0):
        problems.append(f"tenant_weight is {weight}; it must be finite and above 0")
    if problems:
        raise InvalidRequest("; ".join(problems))
    stops = list(request.stopping.stop_token_ids)
    if not request.stopping.ignore_eos:
        stops += [i for i in model.eos_token_ids if i not in stops]
    sampling |= {
        "max_tokens": max_tokens,
        "min_tokens": request.stopping.min_tokens,
        "stop_token_ids": stops,
        "logprobs": request.logprobs if request.HasField("logprobs") else None,
    }
    target = request.ttft_target_seconds if request.HasField("ttft_target_seconds") else None
    return RunParams(
        token_ids,
        request.num_prompt_tokens,
        max_tokens,
        sampling,
        age_seconds=request.age_seconds,
        ttft_target_seconds=target,
        ledger=request.ledger,
        tenant=request.tenant,
        tenant_weight=weight,
    )


def _check_tokens(
    request: dispatch_pb2.RunRequest, token_ids: list[int], max_tokens: int, model: Ready, problems: list[str]
) -> None:
    if not request.sequence_id:
        problems.append("sequence_id is empty; it must name the sequence while it is in flight")
    boundary = request.num_prompt_tokens
    if not token_ids:
        problems.append("token_ids is empty; a prompt has at least one token")
    elif not 0 < boundary <= len(token_ids):
        problems.append(f"num_prompt_tokens is {boundary}; it must be in 1..{len(token_ids)}, the length of token_ids")
    elif max_tokens and len(token_ids) - boundary >= max_tokens:
        problems.append(f"token_ids has {len(token_ids) - boundary} generated tokens; max_tokens is {max_tokens}")
    if token_ids and max(token_ids) >= model.vocab_size:
        index = next(i for i, token in enumerate(token_ids) if token >= model.vocab_size)
        problems.append(f"token_ids[{index}] is {token_ids[index]}; ids of this model are 0..{model.vocab_size - 1}")
    if max_tokens < 1:
        problems.append("stopping.max_tokens is required and must be at least 1")
    elif boundary + max_tokens > model.max_model_len:
        problems.append(
            f"num_prompt_tokens + max_tokens is {boundary} + {max_tokens}; together they may not exceed "
            f"{model.max_model_len}, this model's context"
        )


def _sampling(message: inference_pb2.SamplingParams, model: Ready, problems: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, (low, closed, high) in _RANGES.items():
        if not message.HasField(name):
            continue
        value = float(getattr(message, name))
        if not (math.isfinite(value) and (value >= low if closed else value > low) and value <= high):
            bounds = f"{'[' if closed else '('}{low:g}, {high:g}{']' if math.isfinite(high) else ')'}"
            problems.append(f"sampling.{name} is {value:g}; it must be in {bounds}")
        fields[name] = value
    if 0 < fields.get("temperature", 0.0) < MIN_TEMPERATURE:
        problems.append(f"sampling.temperature is {fields['temperature']:g}; use 0 for greedy, or at least 1e-6")
    if message.HasField("top_k"):
        fields["top_k"] = min(message.top_k, model.vocab_size)
    for token, bias in message.logit_bias.items():
        if token >= model.vocab_size or not -100.0 <= bias <= 100.0:
            problems.append(
                f"sampling.logit_bias[{token}] is {bias:g}; ids are 0..{model.vocab_size - 1}, values in [-100, 100]"
            )
    fields["logit_bias"] = dict(message.logit_bias)
    if message.HasField("seed"):
        fields["seed"] = message.seed
    elif fields.get("temperature", 1.0) != 0.0:
        problems.append("sampling.seed is unset; it is required unless sampling.temperature is 0")
    return fields


def _check_stopping(message: inference_pb2.StoppingParams, model: Ready, problems: list[str]) -> None:
    if message.max_tokens and message.min_tokens > message.max_tokens:
        problems.append(
            f"stopping.min_tokens is {message.min_tokens}; it must not exceed max_tokens, {message.max_tokens}"
        )
    for token in message.stop_token_ids:
        if token >= model.vocab_size:
            problems.append(f"stopping.stop_token_ids has {token}; ids of this model are 0..{model.vocab_size - 1}")

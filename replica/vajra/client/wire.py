"""Between the client's types and inference.v1."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.duration_pb2 import Duration

from vajra.client.errors import InvalidRequestError
from vajra.client.params import Prompt, SamplingParams, checked_sampling
from vajra.client.prompts import checked_prompt
from vajra.client.results import Ahead, Delta, FinishReason, ModelInfo, Stay, TokenLogprob, Usage
from vajra.inference.v1 import inference_pb2 as pb

_FINISH: dict[int, FinishReason] = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_ABORTED: "aborted",
}
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "n",
)


def to_request(
    prompt: Prompt, sampling: SamplingParams | None, *, request_id: str = "", model: str = ""
) -> pb.GenerateRequest:
    """Raises InvalidRequestError for what is no prompt and what the wire cannot hold, by name."""
    params = checked_sampling(sampling)
    request = pb.GenerateRequest()
    _set("request_id", request_id, partial(setattr, request, "request_id"))
    _set("model", model, partial(setattr, request, "model"))
    set_prompt(request, prompt)
    for name in _SAMPLING:
        _set(name, getattr(params, name), partial(setattr, request.sampling, name))
    _set("logit_bias", params.logit_bias, request.sampling.logit_bias.update)
    _set("max_tokens", params.max_tokens, partial(setattr, request.stopping, "max_tokens"))
    _set("min_tokens", params.min_tokens, partial(setattr, request.stopping, "min_tokens"))
    _set("stop", params.stop_strings, request.stopping.stop.extend)
    _set("stop_token_ids", params.stop_token_ids, request.stopping.stop_token_ids.extend)
    _set("logprobs", params.logprobs, partial(setattr, request.output, "logprobs"))
    _set("ttft_target_seconds", params.ttft_target_seconds, partial(_set_duration, request.ttft_target))
    request.stopping.ignore_eos = params.ignore_eos
    request.output.token_ids_only = not params.detokenize
    request.output.ledger = params.ledger
    return request


def set_prompt(request: pb.GenerateRequest, prompt: Prompt) -> None:
    """Text, token ids or chat messages. Raises InvalidRequestError."""
    match checked_prompt(prompt):
        case str(text):
            _set("prompt", text, partial(setattr, request, "text"))
        case [int(), *_] as ids:
            _set("prompt", ids, request.token_ids.ids.extend)
        case messages:
            for position, message in enumerate(messages):
                _set(f"prompt[{position}]", message, lambda value: request.chat.messages.add(**value))


def _set(name: str, value: Any, put: Callable[[Any], object]) -> None:
    if value is None:
        return
    try:
        put(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"{name}={value!r}: {error}") from None


def _set_duration(duration: Duration, seconds: float) -> None:
    duration.FromNanoseconds(round(seconds * 1e9))


def to_delta(response: pb.GenerateResponse) -> Delta:
    finish = response.finish if response.HasField("finish") else None
    stop = finish.WhichOneof("matched_stop") if finish else None
    return Delta(
        index=response.index,
        text=response.text,
        token_ids=tuple(response.token_ids),
        logprobs=tuple(
            TokenLogprob(p.logprob, tuple((a.token_id, a.logprob) for a in p.alternatives)) for p in response.logprobs
        ),
        finish_reason=_FINISH[finish.reason] if finish else None,
        matched_stop=getattr(finish, stop) if stop else None,
        usage=_usage(finish.usage) if finish else None,
        ledger=tuple(map(_stay, finish.ledger.stays)) if finish else (),
    )


def _usage(usage: pb.Usage) -> Usage:
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        queue_time=usage.queue_time.ToTimedelta().total_seconds(),
        prefill_time=usage.prefill_time.ToTimedelta().total_seconds(),
        preemptions=usage.preemptions,
        failovers=usage.failovers,
        inexact=usage.inexact,
    )


def _stay(stay: pb.Stay) -> Stay:
    values = {f.name: getattr(stay, f.name) for f in dataclasses.fields(Stay)}
    for name in ("queue_ahead", "ahead"):
        values[name] = tuple(Ahead(ahead.request_id, ahead.times) for ahead in values[name])
    for name in ("predicted_prefill_seconds", "slack_seconds_at_first_token"):
        values[name] = values[name] if stay.HasField(name) else None
    values |= {"chunks": tuple(stay.chunks), "blocked": dict(stay.blocked), "queue_blocked": dict(stay.queue_blocked)}
    return Stay(**values)


def to_model(response: pb.GetModelResponse) -> ModelInfo:
    return ModelInfo(
        name=response.model,
        max_context_tokens=response.max_context_tokens,
        vocab_size=response.vocab_size,
        eos_token_ids=tuple(response.eos_token_ids),
        num_layers=response.num_layers,
        dtype=response.dtype,
        fingerprint=response.fingerprint,
    )

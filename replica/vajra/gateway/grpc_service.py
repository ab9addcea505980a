"""vajra.inference.v1 on a Gateway."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from vajra.gateway.api_keys import ApiKeys, Tenant
from vajra.gateway.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    DuplicateRequest,
    InternalError,
    InvalidRequest,
    Overloaded,
    RequestError,
    Unavailable,
    UnknownModel,
)
from vajra.gateway.field_names import FieldNames
from vajra.gateway.gateway import Gateway
from vajra.gateway.ledger import Stay
from vajra.gateway.request import Chat, Delta, FinishReason, GenerateRequestData, Prompt, Usage
from vajra.inference.v1 import inference_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name

_Context = grpc.aio.ServicerContext[Any, Any]
_CODES: tuple[tuple[type[RequestError], grpc.StatusCode], ...] = (
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownModel, grpc.StatusCode.NOT_FOUND),
    (DuplicateRequest, grpc.StatusCode.ALREADY_EXISTS),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ClientTooSlow, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (InternalError, grpc.StatusCode.INTERNAL),
)
_REASONS = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.ABORTED: pb.FINISH_REASON_ABORTED,
}
_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("seed", "n"),
)
# Where the fields of GenerateRequestData stand in the message.
_PATHS = {
    **{name: f"sampling.{name}" for name in (*_SAMPLING, "logit_bias")},
    **{name: f"stopping.{name}" for name in ("max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos")},
    "logprobs": "output.logprobs",
    "detokenize": "output.token_ids_only",
    "ttft_target_seconds": "ttft_target",
}
_PROMPTS = {"text": "text", "token_ids": "token_ids.ids", "chat": "chat.messages"}
# By the prompt that is set.
_NAMES = {kind: FieldNames({**_PATHS, "prompt": path}) for kind, path in _PROMPTS.items()}


class InferenceService:
    """Requests arrive as bytes: what is no valid message (a text that is no UTF-8) is the client's fault, and gRPC's
    own deserializer would call it ours."""

    def __init__(self, gateway: Gateway, keys: ApiKeys) -> None:
        self._gateway, self._keys = gateway, keys

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """The service, to be added to a server."""
        methods = {
            "Generate": grpc.unary_stream_rpc_method_handler(self.generate),
            "GetModel": grpc.unary_unary_rpc_method_handler(self.get_model),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def generate(self, data: bytes, context: _Context) -> AsyncIterator[bytes]:
        """Streams deltas. Cancellation, disconnect and deadline end it from outside and free the request."""
        tenant = await self._authenticate(context)
        request = await _parse(pb.GenerateRequest(), data, context)
        try:
            generation = await self._gateway.open([to_request(request, context.time_remaining(), tenant)])
        except RequestError as error:
            await _abort(context, error)
        request_id = generation.request_ids[0]
        try:
            while deltas := await generation.take():
                for delta in deltas:
                    yield to_response(request_id, delta).SerializeToString()
        except RequestError as error:
            await _abort(context, error)
        finally:
            generation.close()

    async def get_model(self, data: bytes, context: _Context) -> bytes:
        """The served model."""
        await self._authenticate(context)
        await _parse(pb.GetModelRequest(), data, context)
        model = self._gateway.model
        if model is None or not (self._gateway.ready or self._gateway.draining):
            await _abort(context, Unavailable("the model is still loading; try again soon"))
        response = pb.GetModelResponse(
            model=model.name,
            max_context_tokens=model.max_model_len,
            vocab_size=model.vocab_size,
            eos_token_ids=model.eos_token_ids,
            num_layers=model.num_layers,
            dtype=model.dtype,
            fingerprint=self._gateway.fingerprint,
        )
        return response.SerializeToString()

    async def _authenticate(self, context: _Context) -> Tenant:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        tenant = self._keys.tenant(given.encode() if isinstance(given, str) else given)
        if tenant is None:
            message = "this server asks for an API key; send the metadata 'authorization: Bearer KEY'"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)
        return tenant


async def _parse(message: Any, data: bytes, context: _Context) -> Any:
    try:
        message.ParseFromString(data)
    except DecodeError:
        name = type(message).DESCRIPTOR.full_name
        text = f"the bytes sent are no {name}; every string in it must be valid UTF-8"
        await _abort(context, InvalidRequest(text))
    return message


def to_request(request: pb.GenerateRequest, time_remaining: float | None, tenant: Tenant) -> GenerateRequestData:
    """Presence matters: what is unset takes the default. Raises InvalidRequest without a prompt."""
    sampling, stopping, output = request.sampling, request.stopping, request.output
    values = {name: getattr(sampling, name) for name in _SAMPLING if sampling.HasField(name)}
    return GenerateRequestData(
        **values,
        prompt=_prompt(request),
        tenant=tenant,
        names=_NAMES[request.WhichOneof("prompt")],
        request_id=request.request_id,
        model=request.model,
        logit_bias=dict(sampling.logit_bias),
        max_tokens=stopping.max_tokens if stopping.HasField("max_tokens") else None,
        min_tokens=stopping.min_tokens if stopping.HasField("min_tokens") else None,
        stop=tuple(stopping.stop),
        stop_token_ids=tuple(stopping.stop_token_ids),
        ignore_eos=stopping.ignore_eos,
        logprobs=output.logprobs if output.HasField("logprobs") else None,
        detokenize=not output.token_ids_only,
        ledger=output.ledger,
        ttft_target_seconds=_seconds(request.ttft_target) if request.HasField("ttft_target") else None,
        # A client without a deadline shows as one that is absurdly far away.
        timeout_seconds=time_remaining if time_remaining is not None and time_remaining < 1e8 else None,
    )


def _prompt(request: pb.GenerateRequest) -> Prompt:
    match request.WhichOneof("prompt"):
        case "text":
            return request.text
        case "token_ids":
            return list(request.token_ids.ids)
        case "chat":
            return Chat(messages=[{"role": m.role, "content": m.content} for m in request.chat.messages])
        case _:
            raise InvalidRequest("there is no prompt; set one of text, token_ids and chat", "prompt")


def to_response(request_id: str, delta: Delta) -> pb.GenerateResponse:
    """One delta as a message."""
    response = pb.GenerateResponse(request_id=request_id, index=delta.index, token_ids=delta.token_ids, text=delta.text)
    for entry in delta.logprobs:
        alternatives = [pb.Alternative(token_id=token, logprob=value) for token, value in entry.alternatives]
        response.logprobs.append(pb.TokenLogprob(logprob=entry.logprob, alternatives=alternatives))
    if delta.finish_reason is not None and delta.usage is not None:
        response.finish.reason = _REASONS[delta.finish_reason]
        response.finish.usage.CopyFrom(_usage(delta.usage))
        if delta.ledger:
            response.finish.ledger.stays.extend(_stay(stay) for stay in delta.ledger)
        if isinstance(delta.matched_stop, str):
            response.finish.stop = delta.matched_stop
        elif delta.matched_stop is not None:
            response.finish.stop_token_id = delta.matched_stop
    return response


def _usage(usage: Usage) -> pb.Usage:
    return pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        queue_time=_duration(usage.queue_time),
        prefill_time=_duration(usage.prefill_time),
        preemptions=usage.preemptions,
        failovers=usage.failovers,
        inexact=usage.inexact,
    )


def _stay(stay: Stay) -> pb.Stay:
    values = {field.name: getattr(stay, field.name) for field in dataclasses.fields(stay)}
    for name in ("queue_ahead", "ahead"):
        values[name] = [pb.Ahead(request_id=ahead.request_id, times=ahead.times) for ahead in values[name]]
    return pb.Stay(**values)


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(math.ceil(max(0.0, seconds) * 1e9))
    return duration


async def _abort(context: _Context, error: RequestError) -> NoReturn:
    """Ends the call with the error's status and, where there are any, its google.rpc details."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    details = _details(error)
    if not details:
        await context.abort(code, str(error))
    status = status_pb2.Status(code=code.value[0], message=str(error))
    for detail in details:
        status.details.add().Pack(detail)
    await context.abort(code, str(error), (("grpc-status-details-bin", status.SerializeToString()),))


@functools.singledispatch
def _details(error: RequestError) -> Sequence[Message]:
    return ()


@_details.register
def _(error: InvalidRequest) -> Sequence[Message]:
    violation = error_details_pb2.BadRequest.FieldViolation(field=error.field or "", description=str(error))
    return (error_details_pb2.BadRequest(field_violations=[violation]),)


@_details.register(Overloaded)
@_details.register(Unavailable)
def _(error: Overloaded | Unavailable) -> Sequence[Message]:
    return (error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after)),)

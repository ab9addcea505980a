"""inference.v1 over the wire: answers, refusals with details, health, reflection, deadline and cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.gateway.harness import MAX_MODEL_LEN, MODEL, VOCABULARY, Server
from tests.midstream import ENDLESS

from vajra.inference.v1 import inference_pb2 as pb
from vajra.inference.v1 import inference_pb2_grpc

SERVICE = "vajra.inference.v1.InferenceService"


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def generate(stub: Any, request: pb.GenerateRequest, timeout: float | None = 60) -> list[pb.GenerateResponse]:
    return list(stub.Generate(request, timeout=timeout))


def request(text: str | None = "Hello", *, max_tokens: int = 16, **fields: Any) -> pb.GenerateRequest:
    fields.setdefault("sampling", pb.SamplingParams(seed=3))
    fields.setdefault("stopping", pb.StoppingParams(max_tokens=max_tokens, ignore_eos=True))
    return pb.GenerateRequest(text=text, **fields)


def test_an_answer(stub: Any) -> None:
    deltas = generate(stub, request(request_id="mine", output=pb.OutputOptions(logprobs=2)))
    assert {delta.request_id for delta in deltas} == {"mine"}
    ids = [token for delta in deltas for token in delta.token_ids]
    assert len(ids) == 16
    assert bytes(i for i in ids if i < 256).decode("utf-8", "replace") == "".join(delta.text for delta in deltas)
    logprobs = [entry for delta in deltas for entry in delta.logprobs]
    assert all(entry.logprob <= 0 and len(entry.alternatives) == 2 for entry in logprobs)
    assert len(logprobs) == 16
    finish = deltas[-1].finish
    assert finish.reason == pb.FINISH_REASON_LENGTH
    assert (finish.usage.prompt_tokens, finish.usage.completion_tokens) == (5, 16)
    assert finish.usage.prefill_time.ToNanoseconds() > 0
    assert not any(delta.HasField("finish") for delta in deltas[:-1])
    # The same prompt as ids, without text.
    bare = request(None, token_ids=pb.TokenIds(ids=list(b"Hello")), output=pb.OutputOptions(token_ids_only=True))
    again = generate(stub, bare)
    assert [token for delta in again for token in delta.token_ids] == ids
    assert not any(delta.text for delta in again)


def test_choices_and_stops(stub: Any) -> None:
    two = generate(stub, request(sampling=pb.SamplingParams(seed=3, n=2)))
    ids = [[token for d in two if d.index == i for token in d.token_ids] for i in range(2)]
    assert ids[0] != ids[1]
    assert sum(d.HasField("finish") for d in two) == 2
    stop = pb.StoppingParams(max_tokens=16, ignore_eos=True, stop_token_ids=[ids[0][5]])
    stopped = generate(stub, request(stopping=stop))
    assert stopped[-1].finish.stop_token_id == ids[0][5]
    assert sum(len(d.token_ids) for d in stopped) == ids[0].index(ids[0][5]) + 1
    bias = pb.SamplingParams(seed=3, logit_bias={65: 100, 66: 100})
    text = "".join(d.text for d in generate(stub, request(sampling=bias)))
    stop = pb.StoppingParams(max_tokens=16, stop=[text[4:8]])
    stopped = generate(stub, request(sampling=bias, stopping=stop))
    assert stopped[-1].finish.stop == text[4:8]
    assert stopped[-1].finish.reason == pb.FINISH_REASON_STOP
    assert "".join(d.text for d in stopped) == text[: text.index(text[4:8])]


def test_the_model_health_and_reflection(stub: Any, channel: grpc.Channel) -> None:
    model = stub.GetModel(pb.GetModelRequest(), timeout=60)
    assert (model.model, model.max_context_tokens, model.vocab_size) == (MODEL, MAX_MODEL_LEN, VOCABULARY)
    assert (list(model.eos_token_ids), model.num_layers, model.dtype) == ([257], 4, "float32")
    assert model.fingerprint
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    assert database.FindFileContainingSymbol(SERVICE).package == "vajra.inference.v1"


FAULTS: list[tuple[pb.GenerateRequest, str, str]] = [
    (pb.GenerateRequest(), "prompt", "no prompt"),
    (request(""), "text", "empty"),
    (request(None, token_ids=pb.TokenIds()), "token_ids.ids", "empty"),
    (request(None, token_ids=pb.TokenIds(ids=[1, VOCABULARY])), "token_ids.ids[1]", "token ids"),
    (request(None, token_ids=pb.TokenIds(ids=[1] * MAX_MODEL_LEN)), "token_ids.ids", "at most"),
    (request("x" * MAX_MODEL_LEN), "text", "at most"),
    (request(None, chat=pb.Chat()), "chat.messages", "empty"),
    (request(None, chat=pb.Chat(messages=[pb.ChatMessage(content="hi")])), "chat.messages[0].role", "missing"),
    (request(sampling=pb.SamplingParams(temperature=float("nan"))), "sampling.temperature", "nan"),
    (request(sampling=pb.SamplingParams(temperature=float("inf"))), "sampling.temperature", "inf"),
    (request(sampling=pb.SamplingParams(temperature=1e-7)), "sampling.temperature", "use 0 for greedy"),
    (request(sampling=pb.SamplingParams(top_p=0)), "sampling.top_p", "(0, 1]"),
    (request(sampling=pb.SamplingParams(logit_bias={1: float("nan")})), "sampling.logit_bias", "[-100, 100]"),
    (request(sampling=pb.SamplingParams(n=0)), "sampling.n", "1 to 128"),
    (request(sampling=pb.SamplingParams(n=100, top_p=2)), "sampling.top_p", "(0, 1]"),
    (request(sampling=pb.SamplingParams(min_p=-1)), "sampling.min_p", "[0, 1]"),
    (request(sampling=pb.SamplingParams(repetition_penalty=0)), "sampling.repetition_penalty", "(0, 100]"),
    (request(sampling=pb.SamplingParams(presence_penalty=3)), "sampling.presence_penalty", "[-2, 2]"),
    (request(sampling=pb.SamplingParams(frequency_penalty=-3)), "sampling.frequency_penalty", "[-2, 2]"),
    (request(sampling=pb.SamplingParams(logit_bias={VOCABULARY: 1})), "sampling.logit_bias", "token ids"),
    (request(max_tokens=0), "stopping.max_tokens", "at least 1"),
    (
        request(stopping=pb.StoppingParams(max_tokens=2, min_tokens=3)),
        "stopping.min_tokens",
        "must not exceed stopping.max_tokens, 2",
    ),
    (request(stopping=pb.StoppingParams(min_tokens=MAX_MODEL_LEN)), "stopping.min_tokens", "leaves room for"),
    (request(stopping=pb.StoppingParams(stop=[""])), "stopping.stop", "stopping.stop[0] must have"),
    (request(stopping=pb.StoppingParams(stop=["x"] * 17)), "stopping.stop", "at most 16"),
    (request(stopping=pb.StoppingParams(stop_token_ids=[VOCABULARY])), "stopping.stop_token_ids", "token ids"),
    (request(stopping=pb.StoppingParams(stop_token_ids=[1] * 257)), "stopping.stop_token_ids", "at most 256"),
    (request(ttft_target=Duration()), "ttft_target", "is 0 seconds; it must be in (0, 86400]"),
    (request(ttft_target=Duration(seconds=-1)), "ttft_target", "is -1"),
    (request(ttft_target=Duration(seconds=86400, nanos=999999999)), "ttft_target", "(0, 86400]"),
    (request(request_id="x" * 257), "request_id", "256 bytes"),
    (request(output=pb.OutputOptions(logprobs=100)), "output.logprobs", "0 to 20"),
    (
        request(stopping=pb.StoppingParams(stop=["x"]), output=pb.OutputOptions(token_ids_only=True)),
        "stopping.stop",
        "use stopping.stop_token_ids",
    ),
]


@pytest.mark.parametrize(("message", "field", "words"), FAULTS, ids=[f"{f}-{w}" for _, f, w in FAULTS])
def test_bad_requests(stub: Any, message: pb.GenerateRequest, field: str, words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, message)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()
    (violation,) = details(error, error_details_pb2.BadRequest()).field_violations
    assert (violation.field, violation.description) == (field, error.details())
    assert field.partition("[")[0] in error.details() or field == "prompt", "the message has another name for it"
    field_of(pb.GenerateRequest.DESCRIPTOR, field)


def field_of(message: Any, path: str) -> None:
    """Raises KeyError for a path that is not in the proto."""
    head, _, rest = path.partition(".")
    name = head.partition("[")[0]
    found = message.fields_by_name[name] if name in message.fields_by_name else message.oneofs_by_name[name]
    if rest:
        field_of(found.message_type, rest)


def test_bytes_that_are_no_utf8(channel: grpc.Channel) -> None:
    raw = channel.unary_stream(f"/{SERVICE}/Generate", request_serializer=None, response_deserializer=None)
    with pytest.raises(grpc.RpcError) as caught:
        list(raw(b"\x1a\x02\xff\xfe", timeout=60))  # field 3, text, of two bytes
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in error.details()


def test_another_model_and_a_giant_message(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, request(model="gpt-4"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, request(model="☃" * 100_000))  # quoted whole, it would not fit into the answer's metadata
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert MODEL in (caught.value.details() or "")
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, request("x" * (17 << 20)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_deadline_ends_a_request(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, request(max_tokens=ENDLESS), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_request_id_is_taken_while_it_is_in_flight(stub: Any) -> None:
    call = stub.Generate(request(request_id="taken", max_tokens=ENDLESS), timeout=60)
    next(call)
    with pytest.raises(grpc.RpcError) as caught:
        generate(stub, request(request_id="taken"))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    call.cancel()


def details(error: Any, message: Any) -> Any:
    """The first detail of a status, as `message`."""
    data = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert status_pb2.Status.FromString(data).details[0].Unpack(message)
    return message

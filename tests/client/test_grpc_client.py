"""The gRPC clients against a scripted server: retries, deadlines, errors. Real answers are tested with the gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from vajra.client import (
    AsyncVajraClient,
    AuthenticationError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RetryPolicy,
    SamplingParams,
    ServerFaultError,
    TokenLogprob,
    UnavailableError,
    UnknownModelError,
    VajraClient,
    VajraError,
)
from vajra.inference.v1 import inference_pb2 as pb
from vajra.inference.v1 import inference_pb2_grpc as pb_grpc

Step = Callable[[pb.GenerateRequest, grpc.ServicerContext], Iterator[pb.GenerateResponse]]


class Scripted(pb_grpc.InferenceServiceServicer):
    """Answers each call by the next step of its script, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[Step] = [answer]
        self.requests: list[pb.GenerateRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.cancelled = threading.Event()

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        step = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return step(request, context)

    def GetModel(self, request: pb.GetModelRequest, context: grpc.ServicerContext) -> pb.GetModelResponse:
        return pb.GetModelResponse(model="tiny", max_context_tokens=64, eos_token_ids=[2], dtype="float32")


def answer(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
    logprob = pb.TokenLogprob(logprob=-0.5, alternatives=[pb.Alternative(token_id=9, logprob=-0.5)])
    for index in range(request.sampling.n):
        yield pb.GenerateResponse(index=index, token_ids=[7], text="one ", logprobs=[logprob])
    for index in range(request.sampling.n):
        finish = pb.Finish(
            reason=pb.FINISH_REASON_STOP, stop="end", usage=pb.Usage(prompt_tokens=3, completion_tokens=3)
        )
        finish.usage.queue_time.FromMilliseconds(1500)
        yield pb.GenerateResponse(index=index, token_ids=[8, 9], text="two", logprobs=[logprob] * 2, finish=finish)


def fail(code: grpc.StatusCode, details: str = "no", retry_after: float | None = None) -> Step:
    def step(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        if retry_after is not None:
            packed = any_pb2.Any()
            packed.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=int(retry_after * 1e9))))
            context.abort_with_status(
                rpc_status.to_status(
                    status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=details, details=[packed])
                )
            )
        context.abort(code, details)
        yield pb.GenerateResponse()

    return step


def fail_midway(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
    yield pb.GenerateResponse(text="one")
    context.abort(grpc.StatusCode.UNAVAILABLE, "lost")


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    servicer = Scripted()
    with ThreadPoolExecutor(4) as pool:
        grpc_server = grpc.server(pool)
        pb_grpc.add_InferenceServiceServicer_to_server(servicer, grpc_server)  # type: ignore[no-untyped-call]
        port = grpc_server.add_insecure_port("127.0.0.1:0")
        grpc_server.start()
        yield servicer, f"127.0.0.1:{port}"
        grpc_server.stop(0).wait()


def test_a_result_joins_the_deltas_of_every_choice(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    with VajraClient(address, api_key="secret") as client:
        result = client.generate("hi", SamplingParams(n=2, temperature=0, logprobs=1), request_id="r", model="tiny")
    assert [c.index for c in result.completions] == [0, 1]
    first = result.completions[0]
    assert (first.text, first.token_ids, first.finish_reason, first.matched_stop) == (
        "one two",
        (7, 8, 9),
        "stop",
        "end",
    )
    assert first.logprobs == (TokenLogprob(-0.5, ((9, -0.5),)),) * 3
    assert (first.usage.prompt_tokens, first.usage.queue_time) == (3, 1.5)
    assert (result.text, result.token_ids, result.usage) == (first.text, first.token_ids, first.usage)
    (request,) = servicer.requests
    assert (request.text, request.request_id, request.model) == ("hi", "r", "tiny")
    assert request.sampling.HasField("temperature")  # 0 is a value
    assert not request.sampling.HasField("top_p")
    assert servicer.metadata[0]["authorization"] == "Bearer secret"


def test_every_parameter_reaches_the_wire(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    params = SamplingParams(
        n=1, temperature=0.5, top_k=4, top_p=0.75, min_p=0.125, repetition_penalty=1.5, presence_penalty=0.5,
        frequency_penalty=0.25, logit_bias={5: 2.0}, seed=2**63, max_tokens=3, min_tokens=2, stop="x",
        stop_token_ids=[4], ignore_eos=True, logprobs=0, detokenize=False, ledger=True,
        ttft_target_seconds=0.25,
    )  # fmt: skip
    with VajraClient(address) as client:
        client.generate([1, 2], params)
        client.generate([{"role": "user", "content": "hi"}], params)
    ids, chat = servicer.requests
    assert list(ids.token_ids.ids) == [1, 2]
    assert [(m.role, m.content) for m in chat.chat.messages] == [("user", "hi")]
    assert chat.sampling == pb.SamplingParams(
        n=1, temperature=0.5, top_k=4, top_p=0.75, min_p=0.125, repetition_penalty=1.5, presence_penalty=0.5,
        frequency_penalty=0.25, logit_bias={5: 2.0}, seed=2**63,
    )  # fmt: skip
    assert chat.stopping == pb.StoppingParams(
        max_tokens=3, min_tokens=2, stop=["x"], stop_token_ids=[4], ignore_eos=True
    )
    assert chat.output == pb.OutputOptions(token_ids_only=True, logprobs=0, ledger=True)
    assert chat.ttft_target == duration_pb2.Duration(nanos=250_000_000)


def test_unavailable_before_any_delta_is_tried_again(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [fail(grpc.StatusCode.UNAVAILABLE), fail(grpc.StatusCode.UNAVAILABLE), answer]
    with VajraClient(address, retry=RetryPolicy(first_delay=0.01)) as client:
        assert client.generate("hi").text == "one two"
    assert len(servicer.requests) == 3


def test_nothing_is_tried_again_after_a_delta(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [fail_midway, answer]
    with VajraClient(address) as client, pytest.raises(UnavailableError, match="lost"):
        client.generate("hi")
    assert len(servicer.requests) == 1


def test_overload_is_tried_again_when_the_server_says_when(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    servicer.script = [fail(exhausted, retry_after=0.01), answer]
    with VajraClient(address) as client:
        assert client.generate("hi").text == "one two"
        servicer.script = [fail(exhausted, "full", retry_after=0.5)]
        with pytest.raises(OverloadedError, match="full") as caught:
            client.generate("hi", timeout=0.4)  # the advice lies beyond the deadline
        assert caught.value.retry_after == 0.5
        servicer.script = [fail(exhausted)]
        with pytest.raises(OverloadedError):
            client.generate("hi")
    assert len(servicer.requests) == 4


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (grpc.StatusCode.NOT_FOUND, UnknownModelError),
        (grpc.StatusCode.UNAUTHENTICATED, AuthenticationError),
        (grpc.StatusCode.INTERNAL, ServerFaultError),
    ],
)
def test_a_status_has_its_error(server: tuple[Scripted, str], code: grpc.StatusCode, kind: type[VajraError]) -> None:
    servicer, address = server
    servicer.script = [fail(code, "the reason")]
    with VajraClient(address) as client, pytest.raises(kind, match="the reason"):
        client.generate("hi")
    assert len(servicer.requests) == 1


def hang(servicer: Scripted) -> Step:
    def step(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        context.add_callback(servicer.cancelled.set)
        yield pb.GenerateResponse(text="one")
        servicer.cancelled.wait(30)

    return step


def test_the_deadline_reaches_the_server(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [hang(servicer)]
    with VajraClient(address) as client, pytest.raises(DeadlineExceededError):
        client.generate("hi", timeout=0.3)
    assert servicer.cancelled.wait(30)


def test_closing_a_stream_cancels_the_request(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [hang(servicer)]
    with VajraClient(address) as client:
        for _ in client.stream("hi"):
            break
        assert servicer.cancelled.wait(30)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("top_k", SamplingParams(top_k=-1)),
        ("max_tokens", SamplingParams(max_tokens=-2)),
        ("seed", SamplingParams(seed=2**64)),
        ("stop", SamplingParams(stop="\ud800")),
        ("ttft_target_seconds", SamplingParams(ttft_target_seconds=float("inf"))),
        ("ttft_target_seconds", SamplingParams(ttft_target_seconds=1e300)),
    ],
)
def test_what_the_wire_cannot_hold_is_refused_by_name(name: str, params: SamplingParams) -> None:
    with VajraClient("127.0.0.1:1") as client, pytest.raises(InvalidRequestError, match=name):
        client.generate("hi", params)


def test_a_message_with_other_keys_is_refused() -> None:
    with VajraClient("127.0.0.1:1") as client, pytest.raises(InvalidRequestError, match=r"prompt\[0\]"):
        client.generate([{"role": "user", "text": "hi"}])


async def test_the_async_client_streams_retries_and_describes(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [fail(grpc.StatusCode.UNAVAILABLE), answer]
    async with AsyncVajraClient(address, retry=RetryPolicy(first_delay=0.01)) as client:
        assert [d.text async for d in client.stream("hi")] == ["one ", "two"]
        assert (await client.generate("hi")).text == "one two"
        info = await client.get_model()
    assert (info.name, info.max_context_tokens, info.eos_token_ids, info.dtype) == ("tiny", 64, (2,), "float32")
    assert len(servicer.requests) == 3


async def test_the_async_client_cancels_and_keeps_deadlines(server: tuple[Scripted, str]) -> None:
    servicer, address = server
    servicer.script = [hang(servicer)]
    async with AsyncVajraClient(address) as client:
        with pytest.raises(DeadlineExceededError):
            await client.generate("hi", timeout=0.3)
        assert servicer.cancelled.wait(30)


async def test_a_closed_client_says_so() -> None:
    client = VajraClient("127.0.0.1:1")
    client.close()
    with pytest.raises(VajraError, match="closed"):
        client.generate("hi")
    other = AsyncVajraClient("127.0.0.1:1")
    await other.close()
    with pytest.raises(VajraError, match="closed"):
        await other.get_model()


def test_an_absent_server_is_unavailable(unused_tcp_port: int) -> None:
    retry = RetryPolicy(max_retries=1, first_delay=0.01)
    with VajraClient(f"127.0.0.1:{unused_tcp_port}", retry=retry) as client, pytest.raises(UnavailableError):
        client.get_model()

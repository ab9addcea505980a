"""Readers slower than the engine, clients that leave and deadlines that pass, over the wire of a real server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.gateway.harness import MODEL, Server, manifest
from tests.gateway.test_connections import address
from tests.midstream import ENDLESS

from vajra.inference.v1 import inference_pb2 as pb
from vajra.inference.v1 import inference_pb2_grpc

TOKENS = 1500  # more than a second of work; with 20 alternatives each, just below what the server keeps for a reader
BLOCKS = 'vajra_kv_blocks_used{replica="0"}'


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[Server]:
    """Its metrics are these tests' own."""
    with Server(manifest(checkpoint)) as running:
        yield running


@pytest.fixture
def stub(server: Server) -> Iterator[Any]:
    """Its flow-control window is small and stays so: what is not read waits in the server."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 14)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def metric(server: Server, name: str) -> float:
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=60) as response:
        for line in response.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    raise AssertionError(name)


def outcomes(server: Server, outcome: str) -> float:
    return metric(server, f'vajra_requests_total{{outcome="{outcome}"}}')


def left(server: Server) -> float:
    """Requests whose clients did not wait. At a deadline, the client's own clock may be the first to say so."""
    return outcomes(server, "cancelled") + outcomes(server, "deadline")


def until_idle(server: Server) -> None:
    """Waits until the replica has no block in use, every look being an answer of its, and the gateway has all of it:
    on a busy machine it may be behind, and what it has not received cannot be unread."""
    while metric(server, BLOCKS) or metric(server, "vajra_running_sequences"):
        pass


def request(n: int = 1, logprobs: int | None = None, max_tokens: int = TOKENS) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        text="Hello",
        sampling=pb.SamplingParams(seed=3, n=n),
        stopping=pb.StoppingParams(max_tokens=max_tokens, ignore_eos=True),
        output=pb.OutputOptions(logprobs=logprobs),
    )


def ids(deltas: list[pb.GenerateResponse]) -> list[int]:
    return [token for delta in deltas for token in delta.token_ids]


def test_a_slow_reader_holds_nothing_up_and_misses_nothing(server: Server, stub: Any) -> None:
    slow = stub.Generate(request(logprobs=20), timeout=300)
    first = next(slow)
    assert len(ids(list(stub.Generate(request(max_tokens=300), timeout=300)))) == 300, "a request beside it"
    until_idle(server)  # the engine has done all of it, read or not
    rest = list(slow)
    assert ids([first, *rest]) == ids(list(stub.Generate(request(), timeout=300)))
    assert sum(len(delta.logprobs) for delta in [first, *rest]) == TOKENS
    assert max(len(delta.token_ids) for delta in rest) > 100, "what waited did not merge"
    assert rest[-1].HasField("finish")


def test_a_reader_that_leaves_too_much_unread_is_cut_off(server: Server, stub: Any) -> None:
    ended = outcomes(server, "slow_client"), outcomes(server, "ok")
    slow = stub.Generate(request(n=8, logprobs=20), timeout=300)
    next(slow)
    assert len(ids(list(stub.Generate(request(max_tokens=300), timeout=300)))) == 300
    until_idle(server)
    with pytest.raises(grpc.RpcError, match="read the stream as it comes") as caught:
        list(slow)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    while outcomes(server, "slow_client") == ended[0]:
        pass
    assert outcomes(server, "ok") == ended[1] + 1


def test_over_http_a_slow_reader_is_told_in_the_stream(server: Server) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "n": 8, "seed": 3}
    body |= {"max_tokens": TOKENS, "ignore_eos": True, "logprobs": True, "top_logprobs": 20, "model": MODEL}
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)  # the rest waits in the server
        connection.settimeout(300)
        connection.connect(address(server.http))
        data = json.dumps(body).encode()
        head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(data) + data)
        assert connection.recv(1)
        until_idle(server)
        answer = b""
        while data := connection.recv(1 << 16):
            answer = answer[-(1 << 12) :] + data
    last = json.loads(answer.rpartition(b"data: ")[2])["error"]
    assert last["code"] == "client_too_slow"
    assert "read the stream as it comes" in last["message"]


def deadline(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Generate(request(n=4, max_tokens=ENDLESS), timeout=0.5))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def cancel(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Generate(request(n=4, max_tokens=ENDLESS), timeout=300)
        next(call)
        assert metric(server, BLOCKS) > 0
        call.cancel()


_CLIENT = """
import sys, grpc
from vajra.inference.v1 import inference_pb2 as pb, inference_pb2_grpc
stub = inference_pb2_grpc.InferenceServiceStub(grpc.insecure_channel(sys.argv[1]))
for delta in stub.Generate(pb.GenerateRequest.FromString(bytes.fromhex(sys.argv[2]))):
    print(flush=True)
"""


def killed(server: Server) -> None:
    command = [sys.executable, "-c", _CLIENT, server.grpc, request(n=4, max_tokens=ENDLESS).SerializeToString().hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.kill()


def hung_up(server: Server) -> None:
    body = {"prompt": "Hello", "max_tokens": ENDLESS, "n": 4, "ignore_eos": True, "stream": True}
    headers = {"Content-Type": "application/json"}
    sent = urllib.request.Request(f"{server.http}/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(sent, timeout=60) as response:
        response.readline()


def hung_up_before_the_answer(server: Server) -> None:
    data = json.dumps({"prompt": "Hello", "max_tokens": ENDLESS, "n": 4, "ignore_eos": True}).encode()
    head = b"POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(address(server.http)) as connection:
        connection.sendall(head % len(data) + data)
        while not metric(server, BLOCKS):
            pass


@pytest.mark.parametrize("leave", [deadline, cancel, killed, hung_up, hung_up_before_the_answer])
def test_blocks_come_back_at_once_when_nobody_waits_any_more(server: Server, leave: Callable[[Server], None]) -> None:
    until_idle(server)
    ended, tokens = left(server), metric(server, "vajra_completion_tokens_total")
    leave(server)
    while left(server) == ended:
        pass
    until_idle(server)
    done = metric(server, "vajra_completion_tokens_total") - tokens
    assert done < 4 * ENDLESS, "it went on to its end"
    assert metric(server, "vajra_running_sequences") == metric(server, "vajra_queue_depth") == 0

"""Bytes that are no request: answered in JSON where an answer is possible, never logged, and survived."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import random
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.gateway.harness import Server, manifest

from vajra.config import VajraDeployment
from vajra.gateway import Gateway
from vajra.gateway.api_keys import ApiKeys
from vajra.gateway.listener import listen
from vajra.gateway.openai.server import HttpServer
from vajra.inference.v1 import inference_pb2 as pb
from vajra.inference.v1 import inference_pb2_grpc

COMPLETIONS = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    return host, int(port)


def exchange(endpoint: str, sent: bytes, *, last: bool = False) -> bytes:
    """What comes back until the server closes the connection; `last` tells it that nothing follows."""
    answer = b""
    with socket.create_connection(address(endpoint), timeout=60) as connection:
        try:
            connection.sendall(sent)
            if last:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1 << 16):
                answer += data
        except TimeoutError:
            raise
        except OSError:  # closed with some of it unread
            pass
    return answer


def first_answer(endpoint: str, sent: bytes) -> tuple[int, dict[str, Any]]:
    """(status, error), without waiting for the end of the connection."""
    with socket.create_connection(address(endpoint), timeout=60) as connection:
        connection.sendall(sent)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            return response.status, json.load(response)["error"]


def parse(answer: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """(status, headers, error) of the one response that there must be."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    assert len(body) == int(headers["content-length"]), "more than one answer"
    assert headers["content-type"].startswith("application/json")
    return int(line.split()[1]), headers, json.loads(body)["error"]


# what is sent, status, words of the message
FAULTS: list[tuple[bytes, int, str]] = [
    (b"nonsense\r\n\r\n", 400, "no HTTP/1.1 request"),
    (b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", 400, "no HTTP/1.1 request"),
    (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "http://["),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "no HTTP/1.1 request"),
    (b"GET /health HTTP/1.1\r\nno colon\r\n\r\n", 400, "no HTTP/1.1 request"),
    (b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 400, "longer than 8190 bytes"),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "longer than 8190 bytes"),
    (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: 1\r\n" * 200 + b"\r\n", 400, "Too many headers"),
    (COMPLETIONS + b"Content-Length: -5\r\n\r\n", 400, "Content-Length"),
    (COMPLETIONS + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n", 400, "chunk size"),
    (
        COMPLETIONS + b"Expect: the-unexpected\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        417,
        "'the-unexpected'",
    ),
    (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "there is no /v1/nothing"),
    (b"PUT /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "takes GET, HEAD, not PUT"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "HTTPS traffic"),
]


@pytest.mark.parametrize(("sent", "status", "words"), FAULTS, ids=lambda value: str(value)[:40])
def test_what_is_refused_is_refused_in_json(server: Server, sent: bytes, status: int, words: str) -> None:
    got, headers, error = parse(exchange(server.http, sent))
    assert (got, error["type"]) == (status, "invalid_request_error")
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert ("allow" in headers) == (status == 405)


def test_garbage_leaves_no_trace_in_the_log(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def tls_hello(endpoint: str) -> None:
        context = ssl.create_default_context()
        with (
            socket.create_connection(address(endpoint), timeout=60) as connection,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(connection, server_hostname="localhost")

    with Server(manifest(checkpoint)) as server:
        noise = random.Random(5)
        for endpoint in (server.http, server.grpc):
            tls_hello(endpoint)
            for size in (0, 1, 3, 24, 1000, 100_000):
                exchange(endpoint, noise.randbytes(size), last=True)
            exchange(endpoint, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + noise.randbytes(1000), last=True)
        exchange(server.grpc, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", last=True)
        for sent, _, _ in FAULTS:
            exchange(server.http, sent)
        coded = COMPLETIONS + b"Content-Encoding: gzip\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot a zip"
        assert parse(exchange(server.http, coded))[0] == 400
        body = b'{"prompt": "x", "max_tokens": 1}'
        whole = COMPLETIONS + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        assert exchange(server.http, whole).startswith(b"HTTP/1.1 200 ")
        with grpc.insecure_channel(server.grpc) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            request = pb.GenerateRequest(text="x", stopping=pb.StoppingParams(max_tokens=1))
            assert list(stub.Generate(request, timeout=60))
        assert capfd.readouterr().err == ""


class Broken(Gateway):
    async def scrape(self) -> bytes:
        raise ZeroDivisionError("a secret")


async def test_a_fault_of_our_own_and_a_body_that_breaks_down(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Broken(VajraDeployment.from_dict(manifest(checkpoint)))
    await gateway.start()
    with listen("127.0.0.1", 0, "--port") as listener:
        face = HttpServer(gateway, listener, ApiKeys())
        await face.start()
        endpoint = "{}:{}".format(*listener.getsockname()[:2])
        try:
            sent = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
            status, _, error = parse(await asyncio.to_thread(exchange, endpoint, sent))
            assert (status, error["type"], error["code"]) == (500, "server_error", "internal_error")
            assert "secret" not in error["message"]
            monkeypatch.setattr("vajra.gateway.openai.server.BODY_SECONDS", 0.2)
            for body in (b"Content-Length: 9\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"):
                status, error = await asyncio.to_thread(first_answer, endpoint, COMPLETIONS + body)
                assert status == 408
                assert "did not arrive" in error["message"]
        finally:
            await face.stop(at_once=False)
            await gateway.stop(kill=True)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)

"""The life of a server: start, drain by signal, and why it may not start."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.harness import Server, manifest
from tests.midstream import ENDLESS, TooLate


def stream(server: Server, max_tokens: int, n: int = 1) -> Any:
    body = {"prompt": "x", "max_tokens": max_tokens, "n": n, "stream": True, "ignore_eos": True, "seed": 1}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.http}/v1/completions", json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=60)


def test_sigterm_drains_and_a_second_signal_does_not_wait(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Server(manifest(checkpoint)) as server:
        with stream(server, 1500) as response:
            response.readline()
            server.signal(signal.SIGTERM)
            seen: list[int] = []
            try:
                urllib.request.urlopen(f"{server.http}/health", timeout=60).close()
            except urllib.error.HTTPError as error:
                with error:
                    seen.append(error.code)
            except urllib.error.URLError as error:
                raise TooLate("the stream is over and the server gone") from error
            events = response.read()
        assert events.endswith(b"data: [DONE]\n\n")
        assert b'"finish_reason":"length"' in events
        assert server.process.wait(30) == 0
        assert seen in ([503], []), "healthy only if the signal had not arrived yet"
    with Server(manifest(checkpoint)) as server, stream(server, ENDLESS, n=8) as response:
        response.readline()
        server.signal(signal.SIGINT)
        threading.Timer(0.2, server.signal, (signal.SIGINT,)).start()
        assert server.process.wait(30) == 128 + signal.SIGINT
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "Warning" not in said


def test_what_cannot_be_served_says_why(checkpoint: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in Server.failure(manifest(checkpoint), port=port)
        assert "--grpc-port" in Server.failure(manifest(checkpoint), grpc_port=port)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    words = Server.failure(manifest(broken))
    assert "model.safetensors" in words
    assert "no replica came up" in words

"""The command-line client that people reach for first, by reflection alone."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from tests.gateway.harness import Server

GRPCURL = shutil.which("grpcurl")
pytestmark = pytest.mark.skipif(
    GRPCURL is None, reason="grpcurl is not on PATH: go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
)


def grpcurl(*words: str) -> str:
    assert GRPCURL is not None
    done = subprocess.run([GRPCURL, "-plaintext", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_lists_generates_and_asks_for_health(server: Server) -> None:
    services = grpcurl(server.grpc, "list").split()
    assert {"vajra.inference.v1.InferenceService", "grpc.health.v1.Health"} <= set(services)
    assert json.loads(grpcurl(server.grpc, "grpc.health.v1.Health/Check"))["status"] == "SERVING"
    body = {"text": "Hello", "stopping": {"max_tokens": 4, "ignore_eos": True}, "sampling": {"temperature": 0}}
    answer = grpcurl("-d", json.dumps(body), server.grpc, "vajra.inference.v1.InferenceService/Generate")
    decoder, deltas, at = json.JSONDecoder(), [], 0
    while at < len(answer.rstrip()):
        delta, end = decoder.raw_decode(answer, at)
        deltas.append(delta)
        at = end + len(answer[end:]) - len(answer[end:].lstrip())
    assert sum(len(delta.get("tokenIds", delta.get("token_ids", []))) for delta in deltas) == 4
    assert "finish" in deltas[-1]

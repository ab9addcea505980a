"""What clients may say of a request beside its prompt reaches the replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import pytest
from tests.gateway.harness import MODEL, manifest
from tests.gateway.pods import TIMEOUT, Pods
from tests.gateway.spy import SpyReplica

from vajra.client import AsyncVajraClient, SamplingParams

HOST = "127.0.0.2"


async def test_a_clients_ttft_target_reaches_the_replica(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint), tmp_path) as pods, SpyReplica(f"{HOST}:{pods.port}") as spy:
        gateway = await pods.gateway(HOST)
        async with (
            openai.AsyncOpenAI(base_url=f"http://{gateway.http}/v1", api_key="none", timeout=TIMEOUT) as http,
            AsyncVajraClient(gateway.grpc) as rpc,
        ):
            await rpc.generate("x", SamplingParams(max_tokens=1, ttft_target_seconds=2.5))
            extra = {"ttft_target_seconds": 2.5}
            await http.completions.create(model=MODEL, prompt="x", max_tokens=1, extra_body=extra)
            await rpc.generate("x", SamplingParams(max_tokens=1))
            spy.go.clear()
            first = asyncio.create_task(rpc.generate("x", SamplingParams(max_tokens=1)))
            await gateway.until(lambda status: status.running == 1)
            late = asyncio.create_task(rpc.generate("x", SamplingParams(max_tokens=1, ttft_target_seconds=0.01)))
            await gateway.until(lambda status: status.waiting == 1)
            await asyncio.sleep(0.02)
            spy.go.set()
            await asyncio.gather(first, late)
    ours, theirs, unset, _, missed = spy.requests
    for request in (ours, theirs):
        assert request.ttft_target_seconds + request.age_seconds == pytest.approx(2.5)
    assert not unset.HasField("ttft_target_seconds")
    assert missed.ttft_target_seconds < 0, "it is sent on, and is the scheduler's to judge"

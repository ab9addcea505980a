"""What clients may say of a request beside its prompt reaches the replica, and what the replica says comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.gateway.harness import MODEL, Server, manifest
from tests.gateway.pods import TIMEOUT, Pods
from tests.gateway.spy import SpyReplica

from vajra.client import Ahead, AsyncVajraClient, SamplingParams, VajraClient
from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2

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


LAST = dispatch_pb2.RunFinish(
    reason=inference_pb2.FINISH_REASON_LENGTH,
    queue_seconds=0.5,
    prefill_seconds=0.25,
    preemptions=1,
    failovers=2,
    ledger=dispatch_pb2.Ledger(
        batches=3,
        chunks=[2, 1],
        blocked={"budget": 5},
        pauses=4,
        discarded=1,
        ahead=[
            dispatch_pb2.Ahead(sequence_id="other/0.1", batches=2),
            dispatch_pb2.Ahead(sequence_id="other/1.1", batches=1),
            dispatch_pb2.Ahead(batches=7),
        ],
        predicted_prefill_seconds=0.2,
        slack_seconds_at_first_token=-0.125,
    ),
)
STAY = {
    "wait_seconds": 0.5,
    "prefill_seconds": 0.25,
    "blocked": {"budget": 5},
    "ahead": (Ahead("other", 3), Ahead("", 7)),
    "chunks": (2, 1),
    "batches": 3,
    "pauses": 4,
    "preemptions": 1,
    "worker_losses": 2,
    "discarded": 1,
    "predicted_prefill_seconds": 0.2,
    "slack_seconds_at_first_token": -0.125,
    "partial": False,
}


async def test_the_ledger_leaves_with_an_answer_that_asks_for_it(checkpoint: Path, tmp_path: Path) -> None:
    moves = dispatch_pb2.RunFinish(reason=inference_pb2.FINISH_REASON_ABORTED, queue_seconds=0.125)
    two = SamplingParams(max_tokens=2, ledger=True)
    async with Pods(manifest(checkpoint), tmp_path) as pods, SpyReplica(f"{HOST}:{pods.port}") as spy:
        gateway = await pods.gateway(HOST)
        async with (
            openai.AsyncOpenAI(base_url=f"http://{gateway.http}/v1", api_key="none", timeout=TIMEOUT) as http,
            AsyncVajraClient(gateway.grpc) as rpc,
        ):
            spy.finishes = [moves, LAST]
            stays = (await rpc.generate("x", two)).completions[0].ledger
            spy.finishes = [LAST]
            body: Any = {"model": MODEL, "prompt": "x", "max_tokens": 1, "extra_body": {"ledger": True}}
            whole = await http.completions.create(**body)
            spy.finishes = [LAST]
            events = [event async for event in await http.completions.create(stream=True, **body)]
            unasked = await rpc.generate("x", SamplingParams(max_tokens=1))
    first, last = stays
    assert (first.wait_seconds, first.partial) == (0.125, False)
    assert {name: getattr(last, name) for name in STAY} == STAY
    assert first.queue_seconds > 0
    for choice in (whole.choices[0], events[-1].choices[0]):
        ahead = [{"request_id": "other", "times": 3}, {"request_id": "", "times": 7}]
        assert choice.model_extra is not None
        (stay,) = choice.model_extra["ledger"]
        assert {name: stay[name] for name in STAY} == {**STAY, "ahead": ahead, "chunks": [2, 1]}
    assert unasked.completions[0].ledger == ()
    assert [request.ledger for request in spy.requests] == [True, True, True, True, False]


async def test_the_ledger_says_who_left_the_queue_before(checkpoint: Path, tmp_path: Path) -> None:
    one = SamplingParams(max_tokens=1, ledger=True)
    async with Pods(manifest(checkpoint), tmp_path) as pods, SpyReplica(f"{HOST}:{pods.port}") as spy:
        gateway = await pods.gateway(HOST)
        async with AsyncVajraClient(gateway.grpc) as rpc:
            spy.go.clear()
            asked = [asyncio.create_task(rpc.generate("x", one, request_id="running"))]
            await gateway.until(lambda status: status.running == 1)
            for waiting, name in enumerate(("next", "one more"), 1):
                asked.append(asyncio.create_task(rpc.generate("x", one, request_id=name)))
                await gateway.until(lambda status, waiting=waiting: status.waiting == waiting)
            spy.go.set()
            ledgers = [answer.completions[0].ledger for answer in await asyncio.gather(*asked)]
    assert [stay.queue_ahead for (stay,) in ledgers] == [(), (), (Ahead("next", 1),)]
    assert ledgers[2][0].queue_blocked == {"slots": 1}


def test_a_real_replica_explains_itself(server: Server) -> None:
    """Also a choice that a stop string has ended, of which the replica has no last word."""
    params = SamplingParams(seed=1, logit_bias={65: 100}, max_tokens=20, ledger=True, ttft_target_seconds=60)
    with VajraClient(server.grpc) as client:
        (ended,) = client.generate("x" * 100, params).completions[0].ledger
        (cut,) = client.generate("x" * 100, replace(params, stop="AAAAA")).completions[0].ledger
    assert (ended.chunks, ended.batches, ended.partial) == ((64, 36), 21, False)
    assert (cut.chunks, cut.partial) == ((64, 36), True)
    assert cut.prefill_seconds > 0

"""The gateway without faces, over real replicas: failover, cancellation, bounds, tokenizer processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.gateway.harness import manifest
from tests.midstream import ENDLESS, hit

from vajra.config import ConfigError, VajraDeployment
from vajra.gateway import Gateway, GenerateRequestData
from vajra.gateway.errors import ClientTooSlow, DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from vajra.gateway.replica_link import ReplicaState
from vajra.gateway.request import FinishReason, Usage

LONG = 1200  # tokens: more than a second of work


@asynccontextmanager
async def gateway(checkpoint: Path, options: dict[str, Any] | None = None, **spec: Any) -> AsyncIterator[Gateway]:
    running = Gateway(VajraDeployment.from_dict(manifest(checkpoint, **spec)), **(options or {}))
    await running.start()
    try:
        yield running
    finally:
        await running.stop(kill=True)


def request(prompt: str = "Hello", max_tokens: int = 8, **fields: Any) -> GenerateRequestData:
    return GenerateRequestData(prompt=prompt, max_tokens=max_tokens, ignore_eos=True, **fields)


async def collect(
    gateway: Gateway, request: GenerateRequestData, at: int = 0, act: Callable[[], Awaitable[None]] | None = None
) -> tuple[list[int], str, Usage]:
    """Tokens, text and usage of a request with one choice; `act` once it has `at` tokens."""
    ids: list[int] = []
    text, usage = "", None
    async with aclosing(gateway.generate(request)) as deltas:
        async for delta in deltas:
            assert usage is None, "a delta after the last"
            ids += delta.token_ids
            text += delta.text
            usage = delta.usage
            if act is not None and len(ids) >= at:
                await act()
                act = None
    assert usage is not None
    assert usage.completion_tokens == len(ids)
    return ids, text, usage


async def metric(gateway: Gateway, name: str) -> float:
    for line in (await gateway.scrape()).decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(name)


async def until_serving(gateway: Gateway) -> None:
    """Waits until every replica serves."""
    async with asyncio.timeout(60):
        while True:
            change = gateway.next_change
            if all(link.state is ReplicaState.SERVING for link in gateway.replicas):
                return
            await change.wait()


async def until_idle(gateway: Gateway) -> None:
    """Waits until no replica holds a KV block, every look being an answer of theirs, and the gateway has all that they
    sent: on a busy machine it may be behind."""
    async with asyncio.timeout(30):
        while await metric(gateway, 'vajra_kv_blocks_used{replica="0"}') or await metric(  # noqa: ASYNC110
            gateway, "vajra_running_sequences"
        ):
            await asyncio.sleep(0)


async def test_a_killed_replica_or_worker_changes_no_stream(checkpoint: Path) -> None:
    requests = [request(f"prompt {i}", LONG, seed=i, temperature=1.0, frequency_penalty=0.1) for i in range(6)]
    async with gateway(checkpoint, replicas=2) as running:
        expected = await asyncio.gather(*(collect(running, each) for each in requests))
        assert all(usage.failovers == 0 for _, _, usage in expected)

        async def kill_replica() -> None:
            pid = running.replicas[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        async def kill_worker() -> None:
            status = await running.replicas[1].status()
            assert status is not None
            os.kill(status.workers[0].pid, signal.SIGKILL)

        for kill in (kill_replica, kill_worker, kill_replica):
            await until_serving(running)
            others = [collect(running, each) for each in requests[1:]]
            got = await asyncio.gather(collect(running, requests[0], 10, kill), *others)
            assert [(ids, text) for ids, text, _ in got] == [(ids, text) for ids, text, _ in expected]
            assert not any(usage.inexact for _, _, usage in got)
            hit(sum(usage.failovers for _, _, usage in got))
        assert running.replicas[0].restarts == 2
        assert await metric(running, "vajra_failovers_total") > 0


async def test_the_only_replica_comes_back_and_its_requests_go_on(checkpoint: Path) -> None:
    async with gateway(checkpoint) as running:
        long = request(max_tokens=LONG, seed=9, stop=("never found",), logprobs=1)
        expected = await collect(running, long)

        async def kill() -> None:
            assert running.replicas[0].pid is not None
            os.kill(running.replicas[0].pid, signal.SIGKILL)

        ids, text, usage = await collect(running, long, 50, kill)
        assert (ids, text) == expected[:2]
        hit(usage.failovers)
        assert usage.failovers == 1


async def test_what_is_cancelled_expired_or_slow_is_freed(checkpoint: Path) -> None:
    async with gateway(checkpoint, {"max_unread": 1000}) as running:  # less than LONG, more than a busy reader leaves
        async with aclosing(running.generate(request(max_tokens=ENDLESS, n=3))) as deltas:
            await anext(deltas)
        await until_idle(running)
        task = asyncio.create_task(collect(running, request(max_tokens=ENDLESS)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_idle(running)
        with pytest.raises(DeadlineExceeded):
            await collect(running, request(max_tokens=ENDLESS, timeout_seconds=0.1))
        await until_idle(running)
        # A reader that takes nothing: its request ends, and another one beside it does not notice.
        slow = await running.open([request(max_tokens=LONG)])
        await collect(running, request(max_tokens=200))
        await until_idle(running)
        with pytest.raises(ClientTooSlow):
            await slow.take()
        slow.close()
        for outcome, count in {"cancelled": 2, "deadline": 1, "slow_client": 1, "ok": 1}.items():
            assert await metric(running, f'vajra_requests_total{{outcome="{outcome}"}}') == count


async def test_the_queue_is_bounded_and_ordered(checkpoint: Path) -> None:
    one_at_a_time = {"type": "FixedChunk", "fixedChunk": {"maxBatchSize": 1, "chunkSize": 64}}
    async with gateway(checkpoint, {"max_waiting": 3}, scheduler=one_at_a_time) as running:
        first = await running.open([request(max_tokens=ENDLESS)])
        await first.take()  # it has the only slot
        order: list[int] = []

        async def follow(i: int) -> None:
            await collect(running, request(max_tokens=2))
            order.append(i)

        waiting = []
        for i in range(3):
            waiting.append(asyncio.create_task(follow(i)))
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="holds 3") as caught:
            await collect(running, request())
        assert caught.value.retry_after >= 1
        with pytest.raises(Overloaded):
            await running.open([request(n=3)])
        with pytest.raises(InvalidRequest, match="4 choices at once"):  # never fits: trying again would not help
            await running.open([request(n=4)])
        cancelled = waiting.pop(1)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        waiting.append(asyncio.create_task(follow(3)))
        first.close()
        await asyncio.gather(*waiting)
        assert order == [0, 2, 3]


async def test_draining_finishes_what_it_can_and_aborts_the_rest(checkpoint: Path) -> None:
    async with gateway(checkpoint) as running:
        short = asyncio.create_task(collect(running, request(max_tokens=300)))
        long = await running.open([request(max_tokens=ENDLESS, n=2)])
        await long.take()
        draining = asyncio.create_task(running.drain(60))
        await asyncio.sleep(0)
        assert not running.healthy
        with pytest.raises(Unavailable, match="draining"):
            await collect(running, request())
        assert len((await short)[0]) == 300
        await running.drain(0)  # time is up for the rest
        finished: dict[int, Any] = {}
        while deltas := await long.take():
            finished |= {delta.index: delta for delta in deltas if delta.finish_reason is not None}
        long.close()
        await draining
        assert set(finished) == {0, 1}
        for delta in finished.values():
            assert delta.finish_reason is FinishReason.ABORTED
            assert delta.usage.completion_tokens > 0


async def test_long_texts_are_tokenized_in_processes(checkpoint: Path) -> None:
    def workers() -> list[psutil.Process]:
        children = psutil.Process().children()
        return [child for child in children if "vajra.gateway.tokenizer_worker" in child.cmdline()]

    text = "Ein längerer Text. " * 600
    async with gateway(checkpoint, tokenizerWorkers=2) as running:
        assert running.tokenizer is not None
        expected = len(running.tokenizer.encode(text))
        with pytest.raises(InvalidRequest, match=f"{expected} tokens"):  # too long, and counted over there
            await collect(running, request(text))
        (worker,) = workers()
        await asyncio.gather(*(collect(running, request("x" * 9000)) for _ in range(5)), return_exceptions=True)
        assert len(workers()) == 2
        running.prepare(VajraDeployment.from_dict(manifest(checkpoint, tokenizerWorkers=1)))()
        async with asyncio.timeout(30):
            while len(workers()) != 1:  # noqa: ASYNC110 (nothing tells of a process's end)
                await asyncio.sleep(0.01)
        for each in workers():
            each.kill()
        with pytest.raises(InvalidRequest, match=f"{expected} tokens"):
            await collect(running, request(text))
        assert worker.pid not in {each.pid for each in workers()}
        await collect(running, request("short texts need none"))
    assert not workers()


async def test_one_seed_one_answer_and_none_is_drawn_anew(checkpoint: Path) -> None:
    async with gateway(checkpoint) as running:
        seeded = [(await collect(running, request(seed=1, max_tokens=20)))[0] for _ in range(2)]
        assert seeded[0] == seeded[1]
        assert (await collect(running, request(seed=-1, max_tokens=20)))[0] == (
            await collect(running, request(seed=(1 << 64) - 1, max_tokens=20))
        )[0]
        free = [(await collect(running, request(max_tokens=20)))[0] for _ in range(2)]
        assert free[0] != free[1]


def test_what_is_not_implemented_is_refused_by_name(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="tensor"):
        Gateway(VajraDeployment.from_dict(manifest(checkpoint, parallelism={"tensor": 2})))

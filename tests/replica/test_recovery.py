"""Workers that die, stand still, or cannot load: clients see a pause or the reason, never other tokens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import grpc
import pytest
from tests.midstream import ENDLESS, hit
from tests.replica.harness import Replica, collect, manifest, read, request

from vajra.control.v1 import control_pb2

PROMPT = [1, 17, 33, 5, 250, 9]
RECOVERY = {"workerRestartLimit": 2, "backoffBaseSeconds": 1, "backoffMaxSeconds": 600, "stallTimeoutSeconds": 5}


async def test_a_killed_worker_changes_no_token(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, recovery=RECOVERY), tmp_path) as replica:
        undisturbed = [(await replica.generate(request(f"u{i}", PROMPT, 600, seed=i)))[0] for i in range(3)]
        calls = [replica.run(request(f"d{i}", PROMPT, 600, seed=i)) for i in range(3)]
        begun = [await read(call, 20) for call in calls]
        pid = await replica.kill_worker()
        rest = await asyncio.gather(*(collect(call) for call in calls))
        assert [begin + tokens for begin, (tokens, _) in zip(begun, rest, strict=True)] == undisturbed
        hit(min(finish.failovers for _, finish in rest))
        assert [finish.failovers for _, finish in rest] == [1, 1, 1]
        status = await replica.status()
        assert status.workers[0].restarts == 1
        assert status.workers[0].pid != pid
        assert status.phase == control_pb2.REPLICA_PHASE_SERVING


async def test_whatever_happens_to_others_tokens_are_the_same(checkpoint: Path, tmp_path: Path) -> None:
    """More sequences than slots; some are cancelled at odd moments, the worker dies twice in between."""
    async with Replica(manifest(checkpoint, recovery=RECOVERY), tmp_path) as replica:
        empty = await replica.room(lambda room: True)
        messages = [request(f"{i}", PROMPT * (i + 1), 100 + 10 * i, seed=i) for i in range(20)]
        undisturbed = [(await replica.generate(message))[0] for message in messages[::2]]
        calls = [replica.run(message) for message in messages]
        begun = [await read(calls[0], 10)]
        await replica.kill_worker()
        for index, call in enumerate(calls[1::2]):
            if index % 2:
                await read(call, 1 + 3 * index)
            call.cancel()
            if index == 5:
                await replica.kill_worker()
        rest = await asyncio.gather(*(collect(call) for call in calls[::2]))
        tokens = [tokens for tokens, _ in rest]
        tokens[0] = begun[0] + tokens[0]
        assert tokens == undisturbed
        room = await replica.room(lambda room: room.free_slots == empty.free_slots)
        assert room.free_blocks == empty.free_blocks
        assert (await replica.status()).workers[0].restarts == 2
        assert not (await replica.status()).notices


async def test_a_worker_that_stands_still_is_killed_and_replaced(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, recovery=RECOVERY), tmp_path) as replica:
        undisturbed, _ = await replica.generate(request("u", PROMPT, 600))
        call = replica.run(request("d", PROMPT, 600))
        begin = await read(call, 20)
        await replica.kill_worker(signal.SIGSTOP)
        tokens, finish = await collect(call)
        assert begin + tokens == undisturbed
        hit(finish.failovers)
        assert finish.failovers == 1


async def test_beyond_the_limit_it_fails_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, recovery=RECOVERY | {"workerRestartLimit": 0}), tmp_path) as replica:
        call = replica.run(request("a", PROMPT, ENDLESS))
        await read(call, 5)
        await replica.kill_worker()
        with pytest.raises(
            grpc.aio.AioRpcError, match="this replica has failed: The worker was ended by SIGKILL"
        ) as error:
            await collect(call)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError, match="SIGKILL") as error:
            await replica.generate(request("b", PROMPT, 4))
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        status = await replica.status()
        assert status.phase == control_pb2.REPLICA_PHASE_FAILED
        assert "workerRestartLimit" in status.message


async def test_a_failed_replica_exits_with_a_status_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    limits = manifest(checkpoint, recovery=RECOVERY | {"workerRestartLimit": 0})
    async with Replica(limits, tmp_path, "--failed-seconds", "0") as replica:
        await replica.kill_worker()
        assert await replica.process.wait() == 3


async def test_a_model_that_cannot_load_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with Replica(manifest(tmp_path / "empty"), tmp_path, wait=False) as replica:
        while (status := await replica.status()).phase == control_pb2.REPLICA_PHASE_STARTING:
            pass
        assert status.phase == control_pb2.REPLICA_PHASE_FAILED
        assert "empty" in status.message
        assert status.workers[0].restarts == 0


async def test_the_torch_backend_serves_and_recovers_too(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, native=False, recovery=RECOVERY), tmp_path) as replica:
        undisturbed, _ = await replica.generate(request("u", PROMPT, 100, seed=None))
        call = replica.run(request("d", PROMPT, 100, seed=None))
        begin = await read(call, 5)
        await replica.kill_worker()
        tokens, finish = await collect(call)
        assert begin + tokens == undisturbed
        hit(finish.failovers)
        assert finish.failovers == 1


async def test_a_manifest_that_is_wrong_ends_it_with_the_field(tmp_path: Path) -> None:
    wrong = manifest(tmp_path, cache={"blokSize": 16})
    async with Replica(wrong, tmp_path, wait=False) as replica:
        assert await replica.process.wait() == 2

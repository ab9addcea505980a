"""Settings from a cluster's operator: at the start, and while sequences run."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.midstream import hit
from tests.replica.harness import Replica, collect, manifest, read, request

from vajra.control.v1 import control_pb2
from vajra.dispatch.v1 import dispatch_pb2

PROMPT = [1, 17, 33, 5, 250, 9]


def chunks(batch: int, chunk: int) -> dict[str, Any]:
    return {"scheduler": {"type": "FixedChunk", "fixedChunk": {"maxBatchSize": batch, "chunkSize": chunk}}}


async def update(replica: Replica, generation: int, spec: dict[str, Any]) -> int:
    message = control_pb2.UpdateConfigRequest(generation=generation, spec_json=json.dumps(spec))
    answer = await replica.control.UpdateConfig(message)
    return int(answer.generation)


async def test_a_start_from_a_folder_takes_what_is_live(checkpoint: Path, tmp_path: Path) -> None:
    newer = manifest(checkpoint, cache={"blockSize": 64}, **chunks(4, 32))["spec"]
    async with Replica(manifest(checkpoint), tmp_path, live={"generation": 7, "spec": newer}) as replica:
        status = await replica.status()
        assert (status.revision, status.generation) == ("r1", 7)
        assert (status.capacity.max_batch_size, status.capacity.block_size) == (4, 16)
        assert await update(replica, 8, manifest(checkpoint, **chunks(2, 32))["spec"]) == 8
        assert (await replica.status()).revision == "r1", "a live change is no new revision"


async def test_a_cluster_that_asks_for_what_it_lacks_ends_it_with_every_reason(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deployment = manifest(checkpoint, parallelism={"tensor": 2}, resources={"accelerator": {"type": "GPU"}})
    live = {"generation": 1, "spec": deployment["spec"]}
    async with Replica(deployment, tmp_path, live=live, wait=False) as replica:
        assert await replica.process.wait() == 2
    said = capfd.readouterr().err
    assert "spec.parallelism.tensor: 2 is not implemented" in said
    assert "say resources: {accelerator: {type: CPU}}" in said


async def test_a_broken_folder_ends_it_with_the_reason(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Replica(manifest(checkpoint), tmp_path, live={"generation": "7"}, wait=False) as replica:
        assert await replica.process.wait() == 2
    assert "live.json" in capfd.readouterr().err


async def test_what_serves_has_decoded(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        assert (await replica.status()).workers[0].steps == 2, "a prefill and a decode"
        await replica.kill_worker()
        await replica.room(lambda room: not room.accepting)
        await replica.room(lambda room: room.accepting)
        status = await replica.status()
        assert (status.workers[0].steps, status.workers[0].restarts) == (2, 1)


async def test_the_smallest_context_can_be_served(checkpoint: Path, tmp_path: Path) -> None:
    smallest = manifest(checkpoint, chunk_size=1)
    smallest["spec"]["model"]["maxModelLen"] = 2
    async with Replica(smallest, tmp_path) as replica:
        assert (await replica.status()).workers[0].steps == 1, "nothing is ever decoded in it"
        tokens, _ = await replica.generate(request("a", [1], 1))
        assert len(tokens) == 1


async def test_a_batch_changes_under_running_sequences(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        messages = [request(f"{i}", PROMPT * (i + 1), 600, seed=i) for i in range(6)]
        undisturbed = [tokens for tokens, _ in await asyncio.gather(*(replica.generate(m) for m in messages))]
        calls = [replica.run(message) for message in messages]
        begun = [await read(call, 10) for call in calls]
        await update(replica, 1, manifest(checkpoint, **chunks(2, 16))["spec"])
        free_slots, status = (await replica.room(lambda room: True)).free_slots, await replica.status()
        hit(status.running >= 2)  # as many as it takes now
        assert free_slots == 0
        assert status.capacity.max_batch_size == 2
        late = replica.run(request("late", PROMPT, 40))
        await replica.room(lambda room: room.accepted == 2 * len(messages) + 1)
        hit((await replica.status()).waiting)
        rest = [await collect(call) for call in calls]
        assert [begin + tokens for begin, (tokens, _) in zip(begun, rest, strict=True)] == undisturbed
        assert not any(finish.preemptions or finish.failovers for _, finish in rest)
        tokens, finish = await collect(late)
        assert len(tokens) == 40
        assert finish.ledger.blocked["slots"] > 0, "it had to wait until fewer than two ran"
        await replica.room(lambda room: room.free_slots == 2)
        long, finish = await replica.generate(request("long", PROMPT * 10, 1))
        assert list(finish.ledger.chunks) == [16, 16, 16, 12]
        await update(replica, 2, manifest(checkpoint, **chunks(8, 64))["spec"])
        again, finish = await replica.generate(request("again", PROMPT * 10, 1))
        assert list(finish.ledger.chunks) == [60]
        assert again == long


async def test_what_cannot_change_live_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    async def refused(generation: int, words: str, **spec: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match=words) as error:
            await update(replica, generation, manifest(checkpoint, **spec)["spec"])
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION

    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        assert await update(replica, 3, manifest(checkpoint, drain={"timeoutSeconds": 77})["spec"]) == 3
        assert await update(replica, 3, manifest(checkpoint, drain={"timeoutSeconds": 77})["spec"]) == 3
        await refused(2, "generation 2 is older than 3")
        await refused(4, r"spec\.cache\.blockSize", scheduler={"type": "DynamicChunk"}, cache={"blockSize": 8})
        await refused(4, r"spec\.metrics\.mode", metrics={"mode": "Enabled"})
        await refused(4, r"spec\.parallelism\.tensor", parallelism={"tensor": 2})
        await refused(4, r"maxBatchSize is 9: .* at most 8 .*chunkSize is 65: .* at most 64", **chunks(9, 65))
        with pytest.raises(grpc.aio.AioRpcError, match=r"spec\.modle") as error:
            await update(replica, 5, {"modle": 1})
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert (await replica.status()).generation == 3


async def test_who_leaves_takes_what_is_on_its_way(checkpoint: Path, tmp_path: Path) -> None:
    """In a cluster: SIGTERM, then drain.endpointGraceSeconds for callers to hear of it, then the drain."""
    live = {"generation": 1, "spec": manifest(checkpoint, drain={"endpointGraceSeconds": 20})["spec"]}
    async with Replica(manifest(checkpoint), tmp_path, live=live) as replica:
        running = replica.run(request("a", PROMPT, 300))
        begin = await read(running, 1)
        replica.process.send_signal(signal.SIGTERM)
        await replica.room(lambda room: not room.accepting)
        assert not await replica.serving("")
        late, _ = await replica.generate(request("late", PROMPT, 20))
        assert len(late) == 20
        await replica.control.Drain(control_pb2.DrainRequest())
        with pytest.raises(grpc.aio.AioRpcError, match="draining") as error:
            await replica.generate(request("too late", PROMPT, 4))
        metadata: Any = error.value.trailing_metadata()
        assert "vajra-not-taken" in metadata
        tokens, _ = await collect(running)
        assert len(begin + tokens) == 300
        replica.process.send_signal(signal.SIGTERM)
        assert await replica.process.wait() == 0


PAIRS = [
    (scheduler, prioritizer)
    for scheduler in ("DynamicChunk", "SpaceSharing", "FixedChunk")
    for prioritizer in ("FCFS", "EDF", "LRS")
    if scheduler != "SpaceSharing" or prioritizer == "LRS"
]


async def test_schedulers_and_prioritizers_change_under_running_sequences(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        messages = [request(f"{i}", PROMPT * (20 * i + 1), 900, seed=i) for i in range(6)]
        undisturbed = [tokens for tokens, _ in await asyncio.gather(*(replica.generate(m) for m in messages))]
        calls = [replica.run(message) for message in messages]
        begun = [await read(call, 5) for call in calls]
        for generation, (scheduler, prioritizer) in enumerate(PAIRS, start=1):
            settings: dict[str, Any] = {"scheduler": {"type": scheduler}, "prioritizer": {"type": prioritizer}}
            if scheduler == "FixedChunk":
                settings["scheduler"] = chunks(8, 64)["scheduler"]
            assert await update(replica, generation, manifest(checkpoint, **settings)["spec"]) == generation
            late = await replica.generate(request(f"late {generation}", PROMPT, 4, seed=generation))
            assert len(late[0]) == 4
            begun = [tokens + await read(call, 10) for tokens, call in zip(begun, calls, strict=True)]
        hit((await replica.status()).running)
        rest = [await collect(call) for call in calls]
        assert [begin + tokens for begin, (tokens, _) in zip(begun, rest, strict=True)] == undisturbed


async def test_what_a_timed_scheduler_lacks_for_now_is_said(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        await update(replica, 1, manifest(checkpoint, scheduler={"type": "DynamicChunk"})["spec"])
        notices = list((await replica.status()).notices)
        for words in ("dynamicChunk.maxBatchSize is 128", "dynamicChunk.maxChunkTokens is 8192", "`vajra profile`"):
            assert any(words in notice for notice in notices), notices
        await update(replica, 2, manifest(checkpoint, **chunks(8, 64))["spec"])
        assert not (await replica.status()).notices


async def test_a_refused_change_and_one_that_is_only_validated_change_nothing(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        spec = json.dumps(manifest(checkpoint, prioritizer={"type": "LRS"}, **chunks(4, 32))["spec"])
        message = control_pb2.UpdateConfigRequest(generation=1, spec_json=spec, validate_only=True)
        assert (await replica.control.UpdateConfig(message)).generation == 0
        assert (await replica.status()).capacity.max_batch_size == 8
        assert not (await replica.room(lambda room: True)).prefill_times


async def test_prefill_times_are_told_where_the_prioritizer_looks_at_them(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, **chunks(8, 64)), tmp_path) as replica:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await replica.dispatch.GetPrefillTimes(dispatch_pb2.GetPrefillTimesRequest())
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        await update(replica, 1, manifest(checkpoint, prioritizer={"type": "EDF"}, **chunks(8, 64))["spec"])
        room = await replica.room(lambda room: room.prefill_times)
        times = await replica.dispatch.GetPrefillTimes(dispatch_pb2.GetPrefillTimesRequest())
        assert times.prefill_times == room.prefill_times
        assert list(times.seconds) == sorted(times.seconds)
        assert times.stride * (len(times.seconds) - 1) >= 4096, "up to the longest prompt"

"""Requests on a healthy replica: results, refusals, cancellation, room, drain."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.midstream import ENDLESS, hit
from tests.replica.harness import MAX_MODEL_LEN, Replica, collect, manifest, read, request

from vajra.control.v1 import control_pb2
from vajra.dispatch.v1 import dispatch_pb2_grpc
from vajra.inference.v1 import inference_pb2

PROMPT = [1, 17, 33, 5, 250, 9]


async def test_sequences_run_and_say_how(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        assert await replica.serving("")
        assert await replica.serving("startup")
        alone, finish = await replica.generate(request("a", PROMPT, 40))
        assert len(alone) == 40
        assert finish.reason == inference_pb2.FINISH_REASON_LENGTH
        together = await asyncio.gather(
            *(replica.generate(request(f"b{i}", PROMPT, 40, seed=7 + i)) for i in range(12))
        )
        assert together[0][0] == alone, "batch-mates changed a sequence"
        assert len({tuple(tokens) for tokens, _ in together}) == 12
        stop = alone[10]
        stopping = inference_pb2.StoppingParams(max_tokens=40, stop_token_ids=[stop], ignore_eos=True)
        stopped, finish = await replica.generate(request("c", PROMPT, 40, stopping=stopping))
        assert stopped == alone[: alone.index(stop) + 1]
        assert (finish.reason, finish.stop_token_id) == (inference_pb2.FINISH_REASON_STOP, stop)
        resumed = request("d", PROMPT + alone[:15], 40, num_prompt_tokens=len(PROMPT))
        assert (await replica.generate(resumed))[0] == alone[15:]
        call = replica.run(request("e", PROMPT, 3, logprobs=2))
        logprobs = [entry async for response in call for entry in response.logprobs]
        assert [len(entry.alternatives) for entry in logprobs] == [2, 2, 2]
        status = await replica.status()
        assert status.phase == control_pb2.REPLICA_PHASE_SERVING
        assert status.fingerprint
        assert status.kv_blocks_used == 0
        assert status.workers[0].steps > 40
        assert {stage.name for stage in status.stages} >= {"WeightLoad", "Warmup"}
        assert status.capacity.max_model_len == MAX_MODEL_LEN


async def test_deltas_merge_for_who_waits_for_the_end(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        at_once, _ = await replica.generate(request("a", PROMPT, 200))
        merged = [response async for response in replica.run(request("b", PROMPT, 200, merge_seconds=600))]
        assert len(merged) <= 2, "the first tokens, and when it has ended the rest"
        assert [token for response in merged for token in response.token_ids] == at_once
        assert merged[-1].HasField("finish")


async def test_an_answer_explains_where_its_time_went(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, chunk_size=64), tmp_path) as replica:
        _, finish = await replica.generate(request("alone", PROMPT * 20, 10))
        assert list(finish.ledger.chunks) == [64, 56]
        assert finish.ledger.batches == 2 + 9
        assert not finish.ledger.blocked
        assert finish.ledger.discarded == 0
        crowd = await asyncio.gather(*(replica.generate(request(f"c{i}", PROMPT, 400, seed=i)) for i in range(10)))
        for _, finish in crowd:  # eight fit into a batch
            assert set(finish.ledger.blocked) <= {"slots", "budget"}
        assert sum(bool(finish.ledger.blocked["slots"]) for _, finish in crowd) >= 2
        for _, finish in crowd:
            ahead = {each.sequence_id: each.batches for each in finish.ledger.ahead}
            assert set(ahead) <= {"", *(f"c{i}" for i in range(10))}
            assert sum(ahead.values()) == sum(finish.ledger.blocked.values())
        early = [response async for response in replica.run(request("early", PROMPT * 20, 10, ledger=True))]
        assert [response.HasField("so_far") for response in early] == [True] + [False] * (len(early) - 1)
        assert list(early[0].so_far.ledger.chunks) == [64, 56]
        assert early[0].so_far.prefill_seconds == early[-1].finish.prefill_seconds > 0
        tokens, _ = crowd[0]
        stopping = inference_pb2.StoppingParams(max_tokens=60, stop_token_ids=[tokens[5]], ignore_eos=True)
        _, finish = await replica.generate(request("stopped", PROMPT, 60, seed=0, stopping=stopping))
        assert finish.ledger.discarded >= 1, "a token was planned ahead of the end"


async def test_bad_requests_are_refused_and_disturb_nothing(checkpoint: Path, tmp_path: Path) -> None:
    sampling = inference_pb2.SamplingParams
    bad = {
        "token_ids is empty": request("x", [], 4),
        r"token_ids\[2\] is 320; ids of this model are 0\.\.319": request("x", [1, 2, 320], 4),
        f"may not exceed {MAX_MODEL_LEN}": request("x", [1] * 100, MAX_MODEL_LEN - 99),
        r"num_prompt_tokens is 9; it must be in 1\.\.6": request("x", PROMPT, 4, num_prompt_tokens=9),
        "max_tokens is required": request("x", PROMPT, 0),
        "3 generated tokens; max_tokens is 3": request("x", PROMPT, 3, num_prompt_tokens=3),
        "sequence_id is empty": request("", PROMPT, 3),
        "sampling.temperature is nan": request("x", PROMPT, 3, sampling=sampling(temperature=float("nan"), seed=1)),
        "use 0 for greedy": request("x", PROMPT, 3, sampling=sampling(temperature=1e-7, seed=1)),
        r"sampling.top_p is 0; it must be in \(0, 1\]": request("x", PROMPT, 3, sampling=sampling(top_p=0, seed=1)),
        "sampling.seed is unset": request("x", PROMPT, 3, sampling=sampling(temperature=1)),
        r"logit_bias\[999\]": request("x", PROMPT, 3, sampling=sampling(seed=1, logit_bias={999: 1.0})),
        "stop_token_ids has 999": request(
            "x", PROMPT, 3, stopping=inference_pb2.StoppingParams(max_tokens=3, stop_token_ids=[999])
        ),
        "age_seconds is -1": request("x", PROMPT, 3, age_seconds=-1.0),
    }
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        call = replica.run(request("good", PROMPT, 400))
        begin = await read(call, 1)
        for message, wrong in bad.items():
            with pytest.raises(grpc.aio.AioRpcError, match=message) as error:
                await replica.generate(wrong)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        tokens, _ = await collect(call)
        assert begin + tokens == (await replica.generate(request("again", PROMPT, 400)))[0]
        long = replica.run(request("twice", PROMPT, ENDLESS))
        await read(long, 1)
        with pytest.raises(grpc.aio.AioRpcError, match="'twice' is in flight") as error:
            await replica.generate(request("twice", PROMPT, 4))
        assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
        long.cancel()


async def test_cancel_and_deadline_give_the_room_back(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        empty = await replica.room(lambda room: True)
        call = replica.run(request("a", PROMPT, ENDLESS))
        await read(call, 5)
        room = await replica.room(lambda room: room.free_slots == empty.free_slots - 1)
        assert room.free_blocks < empty.free_blocks
        assert room.accepted == 1
        call.cancel()
        room = await replica.room(lambda room: room.free_slots == empty.free_slots)
        assert room.free_blocks == empty.free_blocks
        expiring = replica.run(request("b", PROMPT, ENDLESS), timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await collect(expiring)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        room = await replica.room(lambda room: room.free_slots == empty.free_slots)
        assert (room.free_blocks, room.accepted) == (empty.free_blocks, 2)


async def test_a_slow_reader_is_cut_off_and_stalls_nobody(checkpoint: Path, tmp_path: Path) -> None:
    async with (
        Replica(manifest(checkpoint), tmp_path, "--max-unread-bytes", "20000") as replica,
        replica.connect(("grpc.http2.bdp_probe", 0)) as channel,  # else the client reads megabytes ahead
    ):
        stub = dispatch_pb2_grpc.DispatchServiceStub(channel)  # type: ignore[no-untyped-call]
        slow = stub.Run(request("slow", PROMPT, ENDLESS, logprobs=100))
        tokens, _ = await replica.generate(request("quick", PROMPT, 200))
        assert len(tokens) == 200
        await replica.room(lambda room: room.accepted == 2 and room.free_slots == 8)
        with pytest.raises(grpc.aio.AioRpcError, match="the reader is too slow") as error:
            await collect(slow)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_drain_finishes_what_runs_and_admits_nothing(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        first = replica.run(request("first", PROMPT, 1000))
        begin = await read(first, 1)
        answer = await replica.control.Drain(control_pb2.DrainRequest())
        hit(answer.in_flight)
        assert answer.in_flight == 1
        assert not await replica.serving("")
        with pytest.raises(grpc.aio.AioRpcError, match="draining") as error:
            await replica.generate(request("late", PROMPT, 4))
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert not (await replica.room(lambda room: True)).accepting
        tokens, finish = await collect(first)
        assert len(begin + tokens) == 1000
        assert finish.reason == inference_pb2.FINISH_REASON_LENGTH


async def test_drain_aborts_at_its_grace(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        call = replica.run(request("long", PROMPT, ENDLESS))
        await read(call, 1)
        await replica.control.Drain(control_pb2.DrainRequest(grace=Duration(nanos=1)))
        tokens, finish = await collect(call)
        assert finish.reason == inference_pb2.FINISH_REASON_ABORTED
        assert len(tokens) < ENDLESS


async def test_sigterm_drains_and_exits(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        call = replica.run(request("a", PROMPT, 300))
        begin = await read(call, 1)
        replica.process.send_signal(signal.SIGTERM)
        tokens, _ = await collect(call)
        assert len(begin + tokens) == 300
        assert await replica.process.wait() == 0


async def test_it_goes_with_its_parent_and_takes_its_worker(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint), tmp_path) as replica:
        worker = os.pidfd_open((await replica.status()).workers[0].pid)
        os.close(replica.parent_fd)
        replica.parent_fd = -1
        await replica.process.wait()
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(worker, gone.set)
        await asyncio.wait_for(gone.wait(), 60)
        asyncio.get_running_loop().remove_reader(worker)
        os.close(worker)

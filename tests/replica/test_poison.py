"""A request that kills whatever worker runs it is found out and fails by name; others notice a pause at most."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from tests.replica.harness import Replica, collect, manifest, read, request

from vajra.client import LLM, SamplingParams, VajraError
from vajra.config import VajraDeployment
from vajra.control.v1 import control_pb2

PROMPT = [1, 17, 33, 5, 250, 9]
POISON = 99
RECOVERY = {"workerRestartLimit": 2, "backoffBaseSeconds": 1, "backoffMaxSeconds": 600, "stallTimeoutSeconds": 5}
# Runs at the start of every process; in a worker, a step of a sequence whose prompt holds POISON is a crash.
SITE = f"""
import sys
if "vajra.worker" in sys.orig_argv:
    import os, signal
    from vajra.engine.native import NativeEngine
    add, submit, doomed = NativeEngine.add_sequence, NativeEngine.submit, set()
    def add_sequence(self, seq_id, token_ids, *rest):
        if {POISON} in token_ids:
            doomed.add(seq_id)
        add(self, seq_id, token_ids, *rest)
    def submit_or_die(self, plan):
        if any(item.seq_id in doomed for item in plan.items):
            os.kill(os.getpid(), signal.SIGSEGV)
        return submit(self, plan)
    NativeEngine.add_sequence, NativeEngine.submit = add_sequence, submit_or_die
"""


@pytest.fixture(autouse=True)
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


async def test_a_poison_request_fails_by_name_and_its_mates_go_on(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, recovery=RECOVERY), tmp_path) as replica:
        messages = [request(f"r{i}", PROMPT * (i + 1), 400, seed=i) for i in range(4)]
        undisturbed = [(await replica.generate(message))[0] for message in messages]
        calls = [replica.run(message) for message in messages[:3]]
        begun = [await read(call, 5) for call in calls]
        poison = replica.run(request("poison", [*PROMPT, POISON], 20))
        late = replica.run(messages[3])  # perhaps in a batch with it from the first
        with pytest.raises(grpc.aio.AioRpcError, match=r"3 workers in a row died .* SIGSEGV") as error:
            await collect(poison)
        assert error.value.code() == grpc.StatusCode.ABORTED
        rest = await asyncio.gather(*(collect(call) for call in [*calls, late]))
        assert [b + tokens for b, (tokens, _) in zip([*begun, []], rest, strict=True)] == undisturbed
        status = await replica.status()
        assert status.workers[0].restarts == 3
        assert status.phase == control_pb2.REPLICA_PHASE_SERVING
        assert status.kv_blocks_used == 0
        assert not status.notices


async def test_a_stream_of_them_ends_the_replica(checkpoint: Path, tmp_path: Path) -> None:
    async with Replica(manifest(checkpoint, recovery=RECOVERY), tmp_path, "--failed-seconds", "0") as replica:
        codes = []
        for name in ("first", "second"):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await replica.generate(request(name, [*PROMPT, POISON], 20))
            codes.append(error.value.code())
        assert codes == [grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE]
        assert await replica.process.wait() == 3


def test_a_client_hears_of_it_and_the_gateway_sends_it_nowhere_else(checkpoint: Path) -> None:
    greedy = SamplingParams(temperature=0, max_tokens=20)
    with LLM(VajraDeployment.from_dict(manifest(checkpoint, recovery=RECOVERY))) as llm:
        with pytest.raises(VajraError, match=r"3 workers in a row died while they ran this sequence"):
            llm.generate([*PROMPT, POISON], greedy, progress_bar=False)
        assert len(llm.generate(PROMPT, greedy, progress_bar=False)[0].token_ids) > 0

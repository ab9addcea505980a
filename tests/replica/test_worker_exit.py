"""What a worker's death is called, and what its reader is told to do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc
import pytest
from tests.midstream import hit
from tests.replica.harness import Replica, collect, manifest, read, request

from vajra.replica.worker_exit import describe_exit
from vajra.worker.resources import oom_kills

PROMPT = [1, 17, 33, 5, 250, 9]


@pytest.mark.parametrize(
    ("status", "killed", "words"),
    [
        (3, 0, "exited with status 3."),
        (-signal.SIGTERM, 0, "ended by SIGTERM."),
        (-signal.SIGSEGV, 0, "SIGSEGV (the engine crashed: please report it"),
        (-signal.SIGILL, 0, "SIGILL (an instruction that this processor lacks: set VAJRA_ISA"),
        (-signal.SIGKILL, 2, "SIGKILL (out of memory: the kernel has killed 2 of this cgroup's processes"),
        (-signal.SIGKILL, 0, "SIGKILL (by hand or by another process"),
        (-signal.SIGKILL, None, "SIGKILL (by hand, or by the kernel for want of memory"),
        (-(signal.SIGRTMIN + 3), None, f"ended by signal {signal.SIGRTMIN + 3}."),
    ],
)
def test_signals_have_names_and_hints(status: int, killed: int | None, words: str) -> None:
    assert words in describe_exit(status, killed)


def test_kills_for_want_of_memory_are_counted_as_both_cgroup_versions_have_them(tmp_path: Path) -> None:
    for name in ("none", "v2", "v1"):
        (tmp_path / name).mkdir()
    (tmp_path / "v2" / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "v1" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert oom_kills([tmp_path / "v2", tmp_path / "v1"]) == 2
    assert oom_kills([tmp_path / "none", tmp_path / "v1"]) == 5
    assert oom_kills([tmp_path / "none"]) is None


def cut(cache: Path) -> None:
    """Truncates the packed weights that a worker has mapped."""
    [path] = (cache / "packed").glob("*.bin")
    path.chmod(0o644)
    os.truncate(path, 4096)


async def test_weights_that_are_truncated_under_a_worker_are_named_and_packed_again(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "cache"))
    once = manifest(checkpoint, recovery={"workerRestartLimit": 1, "backoffMaxSeconds": 600})
    async with Replica(once, tmp_path) as replica:
        undisturbed, _ = await replica.generate(request("u", PROMPT, 600))
        call = replica.run(request("d", PROMPT, 600))
        begin = await read(call, 5)
        cut(tmp_path / "cache")
        tokens, finish = await collect(call)
        assert begin + tokens == undisturbed
        hit(finish.failovers)
        assert finish.failovers == 1
        cut(tmp_path / "cache")
        with pytest.raises(
            grpc.aio.AioRpcError, match=r"SIGBUS \(a file that it had mapped lost its pages: was a weight"
        ):
            await replica.generate(request("e", PROMPT, 600))

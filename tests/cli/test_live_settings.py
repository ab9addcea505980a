"""`vajra config set` on a running server of two replicas: all change, or none, and no request notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vajra.config import FixedChunkReplicaSchedulerConfig, VajraDeployment

MODEL = "smollm2-135m-instruct"
CHANGES = ("scheduler.type=DynamicChunk", "prioritizer.type=EDF", "scheduler.type=SpaceSharing prioritizer.type=LRS")


def fixed_chunk(size: int) -> list[str]:
    members = (f"chunkSize={size}", "maxBatchSize=16")
    return ["scheduler.type=FixedChunk", *(f"scheduler.fixedChunk.{member}" for member in members)]


class Running:
    """A server with a runtime folder of its own, so that it is the only one to be found."""

    def __init__(self, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self.process, self._environment = process, environment
        assert process.stdout is not None
        for line in process.stdout:
            if "/v1 (OpenAI)" in line:
                self.http = line.split()[1]
                break

    def vajra(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "vajra.cli", "config", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=self._environment)
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    def set(self, *assignments: str, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.vajra("set", *assignments, "-o", "json", **options))
        return result

    def complete(self, seed: int, max_tokens: int = 400) -> str:
        body = {"prompt": "Once upon a time", "max_tokens": max_tokens, "seed": seed, "ignore_eos": True}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.http}/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            text: str = json.load(response)["choices"][0]["text"]
        return text


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    scheduler = FixedChunkReplicaSchedulerConfig(max_batch_size=16, chunk_size=256)
    manifest = tmp_path_factory.mktemp("live") / "manifest.yaml"
    deployment = VajraDeployment.for_model(
        MODEL, override_num_layers=2, max_model_len=512, num_replicas=2, scheduler_config=scheduler
    )
    manifest.write_text(deployment.to_yaml())
    with tempfile.TemporaryDirectory(prefix="vajra-test-") as folder:
        environment = os.environ | {"XDG_RUNTIME_DIR": folder}
        command = [sys.executable, "-m", "vajra.cli", "serve", "-f", str(manifest), "--port", "0", "--grpc-port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                yield Running(process, environment)
            finally:
                process.terminate()


def test_every_scheduler_comes_and_goes_under_requests(running: Running) -> None:
    seeds = range(8)
    with ThreadPoolExecutor(len(seeds)) as pool:
        undisturbed = list(pool.map(running.complete, seeds))
        answers: list[Future[str]] = [pool.submit(running.complete, seed) for seed in seeds]
        for assignments in CHANGES:
            result = running.set(*assignments.split())
            assert result["applied"]
        assert [answer.result() for answer in answers] == undisturbed
    manifest = json.loads(running.vajra("get", "-o", "json"))
    assert manifest["spec"]["scheduler"]["type"] == "SpaceSharing"
    assert running.vajra("set", "prioritizer.type=LRS").startswith("nothing differs\n")


def test_what_cannot_be_is_refused_with_its_path_and_changes_nothing(running: Running) -> None:
    before = running.vajra("get")
    for assignment, code, words in (
        ("scheduler.type=Nonsense", 2, "spec.scheduler.type"),
        ("scheduler.typ=FixedChunk", 2, "did you mean type?"),
        ("cache.blockSize=8", 2, "spec.cache.blockSize"),
        ("replicas=3", 2, "local replicas are as many as were started"),
        ("rollout.maxSurge=2", 2, "for the cluster's operator"),
        ("scheduler", 2, "not PATH=VALUE"),
    ):
        assert words in running.vajra("set", assignment, code=code)
    assert running.vajra("get") == before


def test_a_dry_run_says_what_would_change(running: Running) -> None:
    running.set(
        "scheduler.type=FixedChunk", "scheduler.fixedChunk.chunkSize=256", "scheduler.fixedChunk.maxBatchSize=16"
    )
    result = running.set("--dry-run", "scheduler.fixedChunk.chunkSize=64")
    assert not result["applied"]
    assert result["changed"] == [{"path": "spec.scheduler.fixedChunk.chunkSize", "old": 256, "new": 64}]
    assert "at most 256" in running.vajra("set", "--dry-run", "scheduler.fixedChunk.chunkSize=512", code=2)
    assert json.loads(running.vajra("get", "-o", "json"))["spec"]["scheduler"]["fixedChunk"]["chunkSize"] == 256


def test_a_replica_that_starts_again_has_the_new_settings(running: Running) -> None:
    running.set(
        "scheduler.type=FixedChunk", "scheduler.fixedChunk.chunkSize=96", "scheduler.fixedChunk.maxBatchSize=16"
    )
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    replicas = [p for p in children if b"vajra.replica" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(replicas) == 2
    for pid in replicas:
        os.kill(int(pid), 9)
    assert running.complete(1, max_tokens=5)
    # The engine's buffers are those of the settings it started with.
    assert "at most 96" in running.vajra("set", "scheduler.fixedChunk.chunkSize=128", code=2)


def test_without_a_server_the_command_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vajra.cli", "config", "get", "--control", f"{tmp_path}/none.sock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stderr

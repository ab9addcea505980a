"""A server of this machine, as `vajra serve` starts it: its order can be changed while it runs, and several clients can
ask it at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench.processes import free_port

from vajra.cli.benchmark.runner import run
from vajra.cli.benchmark.statistics import RequestRecord
from vajra.cli.benchmark.target import OpenAITarget
from vajra.cli.benchmark.workload import BenchmarkRequest
from vajra.cli.live import Server, deployment_of
from vajra.cli.openai_client import OpenAIClient
from vajra.config import VajraDeployment
from vajra.gateway.runtime_folder import CONTROL_SOCKET
from vajra.simulator import Request

_START_SECONDS = 300.0  # a profile may have to be measured first


@dataclass(frozen=True)
class Stream:
    """Requests of one client, in order of arrival, all with the same wish for their first token."""

    requests: Sequence[Request]
    api_key: str | None = None
    ttft_target: float | None = None  # seconds


class LocalServer:
    """A server that runs. `url` is its HTTP address."""

    def __init__(self, url: str, runtime_folder: Path) -> None:
        self.url = url
        self._runtime_folder = runtime_folder

    def set_prioritizer(self, section: dict[str, Any]) -> None:
        """Changes spec.prioritizer as a whole, between two steps. Raises CommandError with the server's reason."""
        (socket,) = self._runtime_folder.glob(f"*/{CONTROL_SOCKET}")
        control = Server(f"unix:{socket}")
        status = control.status()
        spec = deployment_of(status).to_dict()["spec"]
        control.update(status.generation + 1, spec | {"prioritizer": section}, validate_only=False)

    def send(self, streams: Sequence[Stream], *, in_turn: bool = False) -> list[list[RequestRecord]]:
        """Sends each stream's requests, prompts of random ids, at their arrivals from now on, or one after the other;
        returns the records of each. Ends the program when a request fails."""

        async def all_of_them() -> list[list[RequestRecord]]:
            return list(await asyncio.gather(*(self._send(i, stream, in_turn) for i, stream in enumerate(streams))))

        found = asyncio.run(all_of_them())
        if faults := [record.error for records in found for record in records if record.error]:
            raise SystemExit(f"a request failed: {faults[0]}")
        return found

    async def _send(self, seed: int, stream: Stream, in_turn: bool) -> list[RequestRecord]:
        generator = np.random.default_rng(seed)
        wanted = [
            BenchmarkRequest(
                tuple(int(i) for i in generator.integers(1000, 30000, request.prompt_tokens)),
                request.prompt_tokens,
                request.output_tokens,
                None if in_turn else request.arrival,
            )
            for request in stream.requests
        ]
        extra = {} if stream.ttft_target is None else {"ttft_target_seconds": stream.ttft_target}
        async with OpenAIClient(self.url, api_key=stream.api_key) as client:
            target = OpenAITarget(client, (await client.models())[0], extra=extra)
            records, _ = await run(target, wanted, concurrency=1 if in_turn else None)
        return records


@contextlib.contextmanager
def serve(deployment: VajraDeployment, api_keys: Sequence[dict[str, Any]] = ()) -> Iterator[LocalServer]:
    """`vajra serve` on a free port; `api_keys` are the entries of its file of keys."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as home:  # a socket's path is short
        manifest, keys = Path(home, "deployment.yaml"), Path(home, "keys.yaml")
        manifest.write_text(json.dumps(deployment.to_dict()))
        port = free_port()
        command = [sys.executable, "-m", "vajra.cli", "serve", "-f", str(manifest), "--port", str(port)]
        command += ["--grpc-port", "0"]
        if api_keys:
            keys.write_text(json.dumps(list(api_keys)))
            command += ["--api-keys", str(keys)]
        environment = {**os.environ, "XDG_RUNTIME_DIR": home}  # its control socket is found there, and no other one
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        url = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + _START_SECONDS
            while not _answers(url):
                if child.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"`{' '.join(command)}` does not answer")
                time.sleep(0.2)  # nobody tells when a server is up
            yield LocalServer(url, Path(home))
        finally:
            child.terminate()
            child.wait()


def due(record: RequestRecord) -> float:
    """When a request should have been sent."""
    return record.sent if record.scheduled is None else record.scheduled


def latencies(records: Sequence[RequestRecord]) -> list[float]:
    """Seconds to the first token, from when each request was due."""
    return [record.token_times[0] - due(record) for record in records]


def makespan(records: Sequence[RequestRecord]) -> float:
    """Seconds from the first request to the last token."""
    return max(record.token_times[-1] for record in records) - min(map(due, records))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

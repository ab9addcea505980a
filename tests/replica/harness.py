"""A real replica process on a unix socket, with its real worker, and what tests ask of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.deployments import deployment
from tests.midstream import TooLate

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.inference.v1 import inference_pb2

TIMEOUT = 60.0
MAX_MODEL_LEN = 8192


def manifest(model: Path, *, native: bool = True, chunk_size: int = 64, **spec: Any) -> dict[str, Any]:
    """A VajraDeployment for a checkpoint folder."""
    backend = {"executionBackend": "Native" if native else "Python"}
    fields = {"name": "test", "maxModelLen": MAX_MODEL_LEN}
    return deployment(model, chunk_size=chunk_size, model_fields=fields, worker=backend, **spec)


def request(
    sequence_id: str, prompt: list[int], max_tokens: int, *, seed: int | None = 7, **fields: Any
) -> dispatch_pb2.RunRequest:
    """A sampled sequence that goes on after eos; greedy without a seed."""
    sampling = inference_pb2.SamplingParams(seed=seed) if seed is not None else None
    return dispatch_pb2.RunRequest(
        sequence_id=sequence_id,
        token_ids=prompt,
        num_prompt_tokens=fields.pop("num_prompt_tokens", len(prompt)),
        sampling=fields.pop("sampling", sampling or inference_pb2.SamplingParams(temperature=0.0)),
        stopping=fields.pop("stopping", inference_pb2.StoppingParams(max_tokens=max_tokens, ignore_eos=True)),
        **fields,
    )


class Replica:
    """`async with Replica(manifest, tmp_path) as replica`: started, connected, taking sequences."""

    def __init__(
        self, manifest: dict[str, Any], folder: Path, *arguments: str, live: Any = None, wait: bool = True
    ) -> None:
        """With `live`, the contents of live.json, it is started as in a cluster: from a folder, without a parent."""
        self._in_cluster = live is not None
        if self._in_cluster:
            (folder / "revision-r1.json").write_text(json.dumps(manifest))
            (folder / "live.json").write_text(json.dumps(live))
            self._source = ["--config-dir", str(folder)]
        else:
            (folder / "spec.json").write_text(json.dumps(manifest))
            self._source = ["--spec-file", str(folder / "spec.json")]
        self._address = f"unix:{folder / 'replica.sock'}"
        self._arguments = arguments
        self._wait = wait

    async def __aenter__(self) -> Replica:
        ours, theirs = os.pipe()
        self.parent_fd = theirs
        parent = () if self._in_cluster else ("--parent-fd", str(ours))
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vajra.replica", *self._source, "--listen", self._address),
            *(*parent, *self._arguments),
            pass_fds=[ours],
            env={**os.environ, "VAJRA_REVISION": "r1"},
        )
        os.close(ours)
        self.channel = grpc.aio.insecure_channel(self._address)
        self.dispatch = dispatch_pb2_grpc.DispatchServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.control = control_pb2_grpc.ReplicaControlServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.health = health_pb2_grpc.HealthStub(self.channel)
        if self._wait:
            await self.room(lambda room: room.accepting)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close(None)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self.parent_fd >= 0:
            os.close(self.parent_fd)

    def connect(self, *options: tuple[str, int]) -> grpc.aio.Channel:
        """A channel of its own."""
        return grpc.aio.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1), *options])

    async def rooms(self) -> AsyncIterator[dispatch_pb2.WatchRoomResponse]:
        """The room stream, from the moment the replica answers."""
        async for room in self.dispatch.WatchRoom(
            dispatch_pb2.WatchRoomRequest(), wait_for_ready=True, timeout=TIMEOUT
        ):
            yield room

    async def room(self, fits: Any) -> dispatch_pb2.WatchRoomResponse:
        """Waits for a room that `fits`; fails at once if the replica exits."""

        async def search() -> dispatch_pb2.WatchRoomResponse:
            async for room in self.rooms():
                if fits(room):
                    return room
            raise AssertionError("the room stream ended")

        found = asyncio.create_task(search())
        exited = asyncio.create_task(self.process.wait())
        await asyncio.wait({found, exited}, return_when=asyncio.FIRST_COMPLETED)
        exited.cancel()
        if not found.done():
            found.cancel()
            raise AssertionError(f"the replica exited with status {self.process.returncode}")
        return found.result()

    async def status(self) -> control_pb2.GetStatusResponse:
        """One snapshot."""
        status = await self.control.GetStatus(control_pb2.GetStatusRequest(), wait_for_ready=True, timeout=TIMEOUT)
        assert isinstance(status, control_pb2.GetStatusResponse)
        return status

    async def serving(self, service: str) -> bool:
        """What the health service says."""
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def run(self, message: dispatch_pb2.RunRequest, timeout: float = TIMEOUT) -> Any:
        """Starts a sequence; the call is an async iterator of RunResponse."""
        return self.dispatch.Run(message, timeout=timeout)

    async def generate(self, message: dispatch_pb2.RunRequest) -> tuple[list[int], dispatch_pb2.RunFinish]:
        """Runs a sequence to its end."""
        return await collect(self.run(message))

    async def kill_worker(self, number: int = signal.SIGKILL) -> int:
        """Sends a signal to the worker; its process id."""
        pid = (await self.status()).workers[0].pid
        os.kill(pid, number)
        return pid


async def collect(call: Any) -> tuple[list[int], dispatch_pb2.RunFinish]:
    """All tokens of a call and its finish."""
    tokens: list[int] = []
    finish = None
    while (response := await call.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]
        assert finish is None, "a response after the last"
        tokens += response.token_ids
        if response.HasField("finish"):
            finish = response.finish
    assert finish is not None, "the stream ended without a finish"
    return tokens, finish


async def read(call: Any, count: int) -> list[int]:
    """At least `count` tokens of a call that goes on; TooLate if it does not."""
    tokens: list[int] = []
    while len(tokens) < count:
        response = await call.read()
        assert isinstance(response, dispatch_pb2.RunResponse)
        if response.HasField("finish"):
            raise TooLate(f"it ended after {len(tokens)} more tokens")
        tokens += response.token_ids
    return tokens

"""Replicas and gateways as an operator runs them: processes that read a folder of settings and know addresses only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.inference.v1 import inference_pb2, inference_pb2_grpc

TIMEOUT = 120.0


class Pod:
    """A process that speaks control.v1 and health at `address`."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process, self.address = process, address
        self.channel = grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.control: Any = control_pb2_grpc.ReplicaControlServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)

    async def status(self) -> control_pb2.GetStatusResponse:
        request = control_pb2.GetStatusRequest()
        answer: control_pb2.GetStatusResponse = await self.control.GetStatus(
            request, wait_for_ready=True, timeout=TIMEOUT
        )
        return answer

    async def until(self, fits: Any) -> control_pb2.GetStatusResponse:
        """Waits for a status that fits."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                if fits(status := await self.status()):
                    return status
                await asyncio.sleep(0.02)

    async def until_serving(self) -> None:
        await self.until(lambda status: status.phase == control_pb2.REPLICA_PHASE_SERVING)

    async def healthy(self, service: str, *, wait: bool = True) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await self._health.Check(request, wait_for_ready=wait, timeout=TIMEOUT)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def until_healthy(self, service: str, *, well: bool = True) -> None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                if await self.healthy(service) is well:
                    return
                await asyncio.sleep(0.02)

    async def update(self, generation: int, manifest: dict[str, Any]) -> int:
        request = control_pb2.UpdateConfigRequest(generation=generation, spec_json=json.dumps(manifest["spec"]))
        return int((await self.control.UpdateConfig(request, timeout=TIMEOUT)).generation)

    async def end(self) -> None:
        await self.channel.close(None)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class Gateway(Pod):
    """A gateway; clients find it at `grpc` and `http`, Prometheus at `metrics`."""

    def __init__(self, process: asyncio.subprocess.Process, ports: dict[str, int]) -> None:
        super().__init__(process, f"127.0.0.1:{ports['control']}")
        self.grpc, self.http = f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['http']}"
        self.metrics = f"http://127.0.0.1:{ports['metrics']}/metrics"

    async def ready(self) -> bool:
        """What a readiness probe finds."""
        try:
            return await self.healthy("", wait=False)
        except grpc.aio.AioRpcError:
            return False


class Pods:
    """`async with Pods(manifest, folder) as pods`: starts what it is asked for, and kills it at the end."""

    def __init__(self, manifest: dict[str, Any], folder: Path) -> None:
        (folder / "revision-r1.json").write_text(json.dumps(manifest))
        self._folder = folder
        model = Path(manifest["spec"]["model"]["source"]["hostPath"]["path"])
        self._environment = {
            **os.environ,
            "VAJRA_CACHE": str(model.with_name(f"{model.name}-cache")),
            "VAJRA_REVISION": "r1",
            "VAJRA_METRICS": "127.0.0.1:0",
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._pods: list[Pod] = []

    async def __aenter__(self) -> Pods:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(pod.end() for pod in self._pods))

    async def replica(self, host: str, **environment: str) -> Pod:
        """A replica at an address of this machine, on the port that all replicas have; it is still to load."""
        address = f"{host}:{self.port}"
        command = ["vajra.replica", "--config-dir", str(self._folder), "--listen", address]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env=self._environment | environment, stdout=asyncio.subprocess.DEVNULL
        )
        self._pods.append(pod := Pod(process, address))
        return pod

    async def gateway(self, *hosts: str, hosts_file: Path | None = None, **environment: str) -> Gateway:
        """A gateway over replicas at these hosts; clients are answered. `hosts_file` is its own /etc/hosts (needs
        root)."""
        command = [sys.executable, "-m", "vajra.gateway", "--config-dir", str(self._folder)]
        command += ["--replicas", ",".join(f"{host}:{self.port}" for host in hosts), "--control", "127.0.0.1:0"]
        command += ["--host", "127.0.0.1", "--port", "0", "--grpc-port", "0", "--max-connection-seconds", "1"]
        if hosts_file is not None:
            script = 'mount --bind "$0" /etc/hosts && exec "$@"'
            command = [*_OWN_MOUNTS, "sh", "-c", script, str(hosts_file), *command]
        environment = self._environment | environment
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line, f"the gateway exited with status {await process.wait()}"
        ports = {name.strip("()"): int(port) for port, name in (part.split() for part in line[19:].split(", "))}
        self._pods.append(gateway := Gateway(process, ports))
        return gateway


_OWN_MOUNTS = ("unshare", "--mount")


def can_change_names() -> bool:
    """Whether a process can be given names of its own: a mount namespace takes root."""
    return shutil.which("unshare") is not None and os.system(f"{' '.join(_OWN_MOUNTS)} true 2>/dev/null") == 0


class Client:
    """A gRPC client with a connection of its own. What it asks depends on a seed alone."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._stub: Any = inference_pb2_grpc.InferenceServiceStub(self.channel)  # type: ignore[no-untyped-call]

    async def generate(
        self, seed: int, max_tokens: int, seconds: float = TIMEOUT
    ) -> tuple[list[int], inference_pb2.Usage]:
        """Tokens and usage."""
        request = inference_pb2.GenerateRequest(
            text=f"prompt {seed}",
            sampling=inference_pb2.SamplingParams(seed=seed),
            stopping=inference_pb2.StoppingParams(max_tokens=max_tokens, ignore_eos=True),
            output=inference_pb2.OutputOptions(token_ids_only=True),
        )
        tokens: list[int] = []
        async for response in self._stub.Generate(request, timeout=seconds):
            tokens += response.token_ids
        assert response.finish.reason == inference_pb2.FINISH_REASON_LENGTH
        return tokens, response.finish.usage


class Traffic:
    """`async with Traffic(clients, expected)`: each client asks without a pause; no request may fail or be answered
    otherwise than `expected`, by seed."""

    def __init__(self, clients: Sequence[Callable[[int], Awaitable[Any]]], expected: Mapping[int, Any]) -> None:
        self._clients, self._expected = clients, expected
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = 0
        self._news = asyncio.Event()
        self._stop = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(client, i)) for i, client in enumerate(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = True
        if error is not None:
            for task in self._tasks:
                task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        assert not failures, failures

    async def answers(self, count: int) -> None:
        """Waits for so many answers more; fails as soon as a request fails."""
        goal = self._answered + count
        async with asyncio.timeout(TIMEOUT):
            while self._answered < goal:
                self._news.clear()
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait({news, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                assert not any(task.done() for task in self._tasks), "a request failed"

    async def _ask(self, client: Callable[[int], Awaitable[Any]], start: int) -> None:
        seeds = itertools.islice(itertools.cycle(self._expected), start, None)
        while not self._stop:
            seed = next(seeds)
            assert await client(seed) == self._expected[seed], f"another answer to seed {seed}"
            self._answered += 1
            self._news.set()


class GrpcTraffic(Traffic):
    """Over gRPC, `expected` being tokens. `failovers` counts those of all requests."""

    def __init__(self, address: str, expected: Mapping[int, list[int]]) -> None:
        self._connections = [Client(address) for _ in range(6)]
        super().__init__([self._asker(client) for client in self._connections], expected)
        self.failovers = 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await asyncio.gather(*(client.channel.close(None) for client in self._connections))

    def _asker(self, client: Client) -> Callable[[int], Awaitable[list[int]]]:
        async def ask(seed: int) -> list[int]:
            tokens, usage = await client.generate(seed, len(self._expected[seed]))
            assert not usage.inexact
            self.failovers += usage.failovers
            return tokens

        return ask


class Service:
    """As a Service of a cluster: every new connection goes to another gateway that is ready."""

    def __init__(self, gateways: Sequence[Gateway], port: str) -> None:
        """`gateways` may change; `port` is grpc or http."""
        self._gateways, self._port = gateways, port
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        """The address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return "{}:{}".format(*self._server.sockets[0].getsockname())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._relay(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sinks = [writer]
        try:
            ready = [gateway for gateway in self._gateways if await gateway.ready()]
            self._turn += 1
            host, port = getattr(ready[self._turn % len(ready)], self._port).split(":")
            theirs, ours = await asyncio.open_connection(host, int(port))
            sinks.append(ours)
            await asyncio.gather(_copy(reader, ours), _copy(theirs, writer))
        finally:
            for sink in sinks:
                sink.close()
            await asyncio.gather(*(sink.wait_closed() for sink in sinks), return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        sink.write_eof()

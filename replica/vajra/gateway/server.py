"""A running gateway: faces and signals, from the start to the last word."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from vajra.config import VajraDeployment
from vajra.gateway.api_keys import ApiKeys
from vajra.gateway.control import ControlServer, GatewayControlService
from vajra.gateway.endpoints import Endpoints, Progress
from vajra.gateway.errors import StartupError
from vajra.gateway.gateway import Gateway
from vajra.gateway.grpc_server import GrpcServer
from vajra.gateway.listener import url_host
from vajra.gateway.live_change import LocalChanges
from vajra.gateway.local_replicas import LocalReplicas
from vajra.gateway.openai.server import HttpServer
from vajra.gateway.replica_process import ReplicaLauncher


class Face(Protocol):
    """Something that answers on a port."""

    async def start(self) -> None:
        """Begins to answer."""

    async def stop(self, *, at_once: bool) -> None:
        """Ends, with time for last words unless `at_once`."""


class Signals:
    """SIGTERM and SIGINT: the first asks to drain, the second to be gone."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self.number = 0  # of the last one
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive, number)

    def _receive(self, number: int) -> None:
        self.number = number
        (self.now if self.stop.is_set() else self.stop).set()


async def serve_here(
    deployment: VajraDeployment,
    *,
    launcher: ReplicaLauncher,
    listener: socket.socket,
    host: str,
    grpc_port: int,
    keys: ApiKeys,
    progress: Progress | None,
    on_ready: Callable[[Endpoints], None] | None,
) -> int:
    """See `serve`: a gateway and its replicas on one machine."""
    gateway = Gateway(deployment, source=LocalReplicas(launcher, deployment.spec.recovery), progress=progress)
    http = HttpServer(gateway, listener, keys)
    grpc = GrpcServer(gateway, host, grpc_port, keys)
    service = GatewayControlService(gateway, LocalChanges(gateway), None)
    controls = ControlServer(service, gateway, launcher.control_address)

    def ready() -> None:
        if on_ready is not None:
            on_ready(_endpoints(gateway, host, listener.getsockname()[1], grpc.port))

    return await run(gateway, (http, grpc, controls), leave=gateway.drain, on_ready=ready)


async def run(
    gateway: Gateway, faces: Sequence[Face], *, leave: Callable[[], Awaitable[None]], on_ready: Callable[[], None]
) -> int:
    """Serves until a signal, which `leave` answers to; a second one is immediate. Returns the exit status.

    The faces answer from the start: health says NOT_SERVING until the model is there.
    """
    signals = Signals()
    status = 0
    try:
        for face in faces:
            await face.start()
        # Only now: a gateway that cannot start takes the folder of its sockets away, which a face may be about to use.
        starting = asyncio.create_task(gateway.start())
        if not await _first(starting, signals.stop):
            return 0
        starting.result()
        on_ready()
        if await _first(failure := asyncio.create_task(gateway.failed()), signals.stop):
            raise StartupError(failure.result())
        if not await _first(asyncio.ensure_future(leave()), signals.now):
            status = 128 + signals.number
    finally:
        at_once = signals.now.is_set()
        await gateway.stop(kill=at_once)
        await asyncio.gather(*(face.stop(at_once=at_once) for face in faces))
    return status


async def _first(task: asyncio.Future[Any], event: asyncio.Event) -> bool:
    """Waits for either; True when the task is done. Otherwise it is cancelled."""
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        return task.done()
    finally:
        waiter.cancel()
        task.cancel()
        await asyncio.gather(waiter, task, return_exceptions=True)


def _endpoints(gateway: Gateway, host: str, port: int, grpc_port: int) -> Endpoints:
    assert gateway.model is not None
    name = url_host("127.0.0.1" if host in ("0.0.0.0", "::") else host)  # what a client can be told to use
    return Endpoints(
        model=gateway.model.name,
        http=f"http://{name}:{port}",
        grpc=f"{name}:{grpc_port}",
        notices=tuple(gateway.notices),
    )

"""A running server: gateway, faces and signals."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from vajra.config import VajraDeployment
from vajra.gateway.endpoints import Endpoints, Progress
from vajra.gateway.errors import StartupError
from vajra.gateway.gateway import Gateway
from vajra.gateway.grpc_server import GrpcServer
from vajra.gateway.listener import url_host
from vajra.gateway.openai.server import HttpServer
from vajra.gateway.replica_process import ReplicaLauncher

_GRPC_GRACE = 2.0  # seconds for last words, once nothing is in flight


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


async def run(
    deployment: VajraDeployment,
    *,
    launcher: ReplicaLauncher,
    listener: socket.socket,
    host: str,
    grpc_port: int,
    api_key: str | None,
    progress: Progress | None,
    on_ready: Callable[[Endpoints], None] | None,
) -> int:
    """See `serve`. The faces answer from the start: health says NOT_SERVING until the model is there."""
    signals = Signals()
    gateway = Gateway(deployment, launcher=launcher, progress=progress)
    http = HttpServer(gateway, listener, api_key)
    grpc = GrpcServer(gateway, host, grpc_port, api_key)
    status = 0
    try:
        starting = asyncio.create_task(gateway.start())
        try:
            await http.start()
            await grpc.start()
        except BaseException:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            raise
        if not await _first(starting, signals.stop):
            return 0
        starting.result()
        if on_ready is not None:
            on_ready(_endpoints(gateway, host, listener.getsockname()[1], grpc.port))
        if await _first(failure := asyncio.create_task(gateway.failed()), signals.stop):
            raise StartupError(failure.result())
        if not await _first(asyncio.create_task(gateway.drain()), signals.now):
            status = 128 + signals.number
    finally:
        at_once = signals.now.is_set()
        await gateway.stop(kill=at_once)
        if at_once:
            await grpc.stop(0.0)  # it must not outlive the loop
        else:
            await asyncio.gather(http.stop(), grpc.stop(_GRPC_GRACE))
    return status


async def _first(task: asyncio.Task[object], event: asyncio.Event) -> bool:
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

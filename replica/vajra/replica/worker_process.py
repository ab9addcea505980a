"""A worker as its controller holds it: a child process and the channel to it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from vajra.worker.protocol import FrameSplitter, FromWorker, Init, ToWorker, encode, from_worker

_SOCKET_BUFFER_BYTES = 4 << 20


class WorkerProcess:
    """Spawned at once, connected to an event loop later: a replica starts its worker before it imports gRPC."""

    def __init__(self, init: Init) -> None:
        """Executes `python -m vajra.worker`; its death follows ours by the channel and by the kernel's signal."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        self.started = time.monotonic()
        with theirs:
            command = [sys.executable, "-m", "vajra.worker", "--fd", str(theirs.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._socket = ours
        self._transport: asyncio.Transport | None = None
        ours.sendall(encode([init]))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    async def connect(self, on_message: Callable[[FromWorker], None], on_exit: Callable[[int], None]) -> None:
        """Delivers messages, those sent since the spawn first; then, once, the exit status (negative: a signal)."""
        loop = asyncio.get_running_loop()
        protocol = _Channel(on_message, lambda: self._closed(on_exit))
        self._transport, _ = await loop.create_connection(lambda: protocol, sock=self._socket)

    def send(self, messages: list[ToWorker]) -> None:
        """Queues messages, in order, in one write."""
        assert self._transport is not None
        self._transport.write(encode(messages))

    def kill(self) -> None:
        """SIGKILL; `on_exit` follows."""
        self.process.kill()

    async def close(self) -> None:
        """Lets the child go by closing the channel, and waits for it."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()
        try:
            await asyncio.to_thread(self.process.wait, 5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)

    def _closed(self, on_exit: Callable[[int], None]) -> None:
        async def reap() -> None:
            try:
                status = await asyncio.to_thread(self.process.wait, 5.0)
            except subprocess.TimeoutExpired:  # it closed the channel and lives on: of no use any more
                self.process.kill()
                status = await asyncio.to_thread(self.process.wait)
            on_exit(status)

        self._reaper = asyncio.get_running_loop().create_task(reap())


class _Channel(asyncio.Protocol):
    """Frames from the worker's socket to `on_message`."""

    def __init__(self, on_message: Callable[[FromWorker], None], on_closed: Callable[[], None]) -> None:
        self._splitter = FrameSplitter()
        self._on_message = on_message
        self._on_closed = on_closed

    def data_received(self, data: bytes) -> None:
        for frame in self._splitter.push(data):
            self._on_message(from_worker.decode(frame))

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_closed()

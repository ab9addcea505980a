"""One replica of the set, as the gateway sees it: its process, its channel, its room; started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

import grpc

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.gateway.replica_process import ReplicaLauncher, ReplicaProcess

log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 20),  # a replica's socket appears within tenths of a second
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.keepalive_time_ms", 20_000),  # a replica that stands still is as good as dead
    ("grpc.keepalive_timeout_ms", 10_000),
)
_STATUS_SECONDS = 0.5  # between looks at a replica that is not serving: no event tells its progress or its failure
_EXIT_SECONDS = 5.0  # from the end of its streams to the end of its process


class ReplicaState(Enum):
    """Where a replica is in its life."""

    STARTING = "starting"  # the first time or again
    SERVING = "serving"
    RECOVERING = "recovering"  # it lives, but takes nothing now: its worker is gone, or it drains
    WAITING = "waiting"  # dead, to be started again after a while
    FAILED = "failed"  # given up
    STOPPED = "stopped"


class RecoveryLimits(Protocol):
    """What is needed of a deployment's `recovery`."""

    @property
    def group_restart_limit(self) -> int: ...

    @property
    def backoff_base_seconds(self) -> int: ...

    @property
    def backoff_max_seconds(self) -> int: ...


class ReplicaLink:
    """Runs replica `index`. Callbacks come from the event loop: `on_room` with every report, `on_lost` when the
    process is gone and all that was sent to it, `on_change` when `state` changes, `on_status` with its own account
    of itself while it does not serve."""

    def __init__(
        self,
        index: int,
        launcher: ReplicaLauncher,
        recovery: RecoveryLimits,
        *,
        on_room: Callable[[ReplicaLink, dispatch_pb2.WatchRoomResponse], None],
        on_lost: Callable[[ReplicaLink], None],
        on_change: Callable[[ReplicaLink], None],
        on_status: Callable[[ReplicaLink, control_pb2.GetStatusResponse], None],
    ) -> None:
        self.index = index
        self.state = ReplicaState.STARTING
        self.message = ""  # why it is not serving
        self.notices: list[str] = []
        self.fingerprint = ""
        self.restarts = 0
        self.served = False  # ever
        self._launcher, self._recovery = launcher, recovery
        self._on_room, self._on_lost, self._on_change, self._on_status = on_room, on_lost, on_change, on_status
        self._process: ReplicaProcess | None = None
        self._dispatch: Any = None
        self._control: Any = None
        self._record = 0  # restarts that count towards the limit
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()  # set while it does not accept: then its status is looked at

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process is not None else None

    def run(self, request: dispatch_pb2.RunRequest, timeout: float | None) -> Any:
        """Opens a Run stream. Raises ConnectionError while there is no process."""
        if self._dispatch is None:
            raise ConnectionError("its process is gone")
        return self._dispatch.Run(request, timeout=timeout)

    def refresh(self) -> None:
        """Asks for the room once more, out of turn: something failed, and a replica that lives should be used again."""
        task = asyncio.get_running_loop().create_task(self._report_room())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def status(self) -> control_pb2.GetStatusResponse | None:
        """The replica's own account; None when it does not answer."""
        if self._control is None:
            return None
        try:
            answer: control_pb2.GetStatusResponse = await self._control.GetStatus(
                control_pb2.GetStatusRequest(), timeout=5.0, wait_for_ready=True
            )
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None  # its channel was closed, which cancels what is on it
        return answer

    async def supervise(self) -> None:
        """Keeps the replica alive until `stop`, or until it is given up."""
        while not self._stopping:
            self._set_state(ReplicaState.STARTING)
            started = time.monotonic()
            await self._live()
            if self._stopping:
                break
            if time.monotonic() - started > self._recovery.backoff_max_seconds:
                self._record = 0
            if not self.served or self._record >= self._recovery.group_restart_limit:
                self._set_state(ReplicaState.FAILED)  # whose `message` the replica set tells
                return
            log.warning("replica %d: %s", self.index, self.message)
            self._record += 1
            self.restarts += 1
            self._set_state(ReplicaState.WAITING)
            await asyncio.sleep(self._backoff())
        self._set_state(ReplicaState.STOPPED)

    def stop(self, *, kill: bool = False) -> None:
        """Ends the process, which drains first unless `kill`; `supervise` returns when it is gone."""
        self._stopping = True
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()

    def _backoff(self) -> float:
        """The first restart is immediate, then the wait doubles."""
        if self._record <= 1:
            return 0.0
        delay = self._recovery.backoff_base_seconds * 2.0 ** (self._record - 2)
        return min(delay, float(self._recovery.backoff_max_seconds))

    async def _live(self) -> None:
        """One process, from its start to its end."""
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()
        self._process = process = self._launcher.launch(self.index)
        process.on_exit(lambda status: _from_thread(loop, exited, status))
        channel = grpc.aio.insecure_channel(process.address, _OPTIONS)
        self._dispatch = dispatch_pb2_grpc.DispatchServiceStub(channel)  # type: ignore[no-untyped-call]
        self._control = control_pb2_grpc.ReplicaControlServiceStub(channel)  # type: ignore[no-untyped-call]
        tasks = [asyncio.create_task(self._watch_room()), asyncio.create_task(self._watch_status())]
        self._not_accepting()
        try:
            life: list[asyncio.Future[Any]] = [exited, *tasks]
            await asyncio.wait(life, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and not self._stopping:  # hung, cut off, or failed and said so
                await asyncio.wait([exited], timeout=0 if self.message else _EXIT_SECONDS)
                process.kill()
            status = await exited
            self.message = self.message or f"its process exited with status {status}; its own messages are above"
        finally:
            process.kill()
            self._process = self._control = self._dispatch = None
            self._on_lost(self)  # before its channel closes: nothing may be sent on it any more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await channel.close(None)

    async def _watch_room(self) -> None:
        """Follows the room until the stream breaks."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for room in self._dispatch.WatchRoom(dispatch_pb2.WatchRoomRequest(), wait_for_ready=True):
                self.fingerprint = room.fingerprint
                if room.accepting:
                    self.served = True
                    self.message = ""
                    self._idle.clear()
                    self._set_state(ReplicaState.SERVING)
                elif self.state is ReplicaState.SERVING:
                    self._set_state(ReplicaState.RECOVERING)
                    self._not_accepting()
                self._on_room(self, room)

    async def _report_room(self) -> None:
        if self._dispatch is None:
            return
        call = self._dispatch.WatchRoom(dispatch_pb2.WatchRoomRequest(), timeout=_EXIT_SECONDS)
        try:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):  # the latter: its channel closed
                room = await call.read()
                if isinstance(room, dispatch_pb2.WatchRoomResponse):
                    self._on_room(self, room)
        finally:
            call.cancel()

    def _not_accepting(self) -> None:
        self.message = ""
        self._idle.set()

    async def _watch_status(self) -> None:
        """Looks at a replica that does not serve, until it says that it never will; reads its notices once it does."""
        while True:
            status = await self.status()
            if status is not None:
                self.notices = list(status.notices)
                self._on_status(self, status)
                if status.phase == control_pb2.REPLICA_PHASE_FAILED:
                    self.message = status.message
                    return
            if self._idle.is_set():
                await asyncio.sleep(_STATUS_SECONDS)
            else:
                await self._idle.wait()

    def _set_state(self, state: ReplicaState) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(self)


def _from_thread(loop: asyncio.AbstractEventLoop, future: asyncio.Future[int], status: int) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(status))

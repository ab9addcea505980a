"""A link to one replica: its channel, its room, its state. Who runs the replica is not its business."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import Any, Protocol

import grpc

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.prediction import PrefillTable

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 20),  # a replica's socket appears within tenths of a second
    ("grpc.min_reconnect_backoff_ms", 5_000),  # for one attempt: a busy machine may take a while to accept it
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.keepalive_time_ms", 10_000),  # a replica that stands still is as good as dead
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),  # a new link to an old address starts without the old one's record
    ("grpc.enable_http_proxy", 0),
)
_STATUS_SECONDS = 0.5  # between looks at a replica that is not serving: no event tells its progress or its failure
_UPDATE_SECONDS = _TIMES_SECONDS = 10.0
_ROOM_SECONDS = 5.0  # for a report out of turn
_LAST_WORDS_SECONDS = 10.0  # for streams that are at their end when the replica ends the one of its room


class ReplicaState(Enum):
    """Where a replica is in its life."""

    STARTING = "starting"  # the first time or again
    SERVING = "serving"
    RECOVERING = "recovering"  # it lives, but takes nothing now: its worker is gone, or it drains
    WAITING = "waiting"  # lost, to be started or sought again after a while
    FAILED = "failed"  # given up
    STOPPED = "stopped"


class LinkObserver(Protocol):
    """Hears of links, from the event loop."""

    def room_changed(self, link: ReplicaLink, room: dispatch_pb2.WatchRoomResponse) -> None:
        """A report of what it can take."""

    def replica_lost(self, link: ReplicaLink) -> None:
        """The connection is gone, and all that was sent on it."""

    def state_changed(self, link: ReplicaLink) -> None:
        """`link.state` is another one."""

    def status_read(self, link: ReplicaLink, status: control_pb2.GetStatusResponse) -> None:
        """Its own account of itself, while it does not serve."""


class ReplicaLink:
    """What the gateway knows of one replica, over as many connections as its life takes.

    Whoever keeps the replica calls `follow` for each connection, and sets the states around it.
    """

    def __init__(self, name: str, observer: LinkObserver) -> None:
        self.name = name
        self.state = ReplicaState.STARTING
        self.message = ""  # why it is not serving
        self.notices: list[str] = []
        self.fingerprint = ""
        self.times: PrefillTable | None = None  # how long prompts take there, where its prioritizer looks at it
        self.served = False  # ever
        self.connected = False  # whether it has reported its room on the connection that there is
        self.restarts = 0  # times that it was lost and sought or started again
        self.pid: int | None = None  # of its process, where that runs here
        self._observer = observer
        self._times_name = ""
        self._dispatch: Any = None
        self._control: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()  # set while it does not accept: then its status is looked at

    def run(self, request: dispatch_pb2.RunRequest, timeout: float | None) -> Any:
        """Opens a Run stream. Raises ConnectionError while there is no connection."""
        if self._dispatch is None:
            raise ConnectionError("the connection to it is gone")
        return self._dispatch.Run(request, timeout=timeout)

    def refresh(self) -> None:
        """Asks for the room once more, out of turn: something failed, and a replica that lives should be used again."""
        task = asyncio.get_running_loop().create_task(self._report_room())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def read_notices(self) -> None:
        """Its notices as they are now; the old ones stay when it does not answer."""
        status = await self.status()
        if status is not None:
            self.notices = list(status.notices)

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

    async def update_config(self, generation: int, spec_json: str, *, validate_only: bool) -> None:
        """control.v1 UpdateConfig. Raises AioRpcError, or ConnectionError while there is no connection."""
        if self._control is None:
            raise ConnectionError("it does not answer now; try again when it does")
        request = control_pb2.UpdateConfigRequest(
            generation=generation, spec_json=spec_json, validate_only=validate_only
        )
        await self._control.UpdateConfig(request, timeout=_UPDATE_SECONDS, wait_for_ready=True)

    async def follow(self, address: str) -> None:
        """One connection, until it breaks or the replica ends it, or says that it never will serve: then `message` is
        set. Streams that are at their end are read to it."""
        channel = grpc.aio.insecure_channel(address, _OPTIONS)
        self._dispatch = dispatch_pb2_grpc.DispatchServiceStub(channel)  # type: ignore[no-untyped-call]
        self._control = control_pb2_grpc.ReplicaControlServiceStub(channel)  # type: ignore[no-untyped-call]
        tasks = [asyncio.create_task(self._watch_room()), asyncio.create_task(self._watch_status())]
        self._not_accepting()
        last_words: float | None = None
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            last_words = _LAST_WORDS_SECONDS
        finally:
            self._control = self._dispatch = None
            self.connected = False
            self._observer.replica_lost(self)  # before its channel closes: nothing may be sent on it any more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await channel.close(last_words)

    def enter(self, state: ReplicaState) -> None:
        """Sets the state, and tells of it if it is another one."""
        if state is not self.state:
            self.state = state
            self._observer.state_changed(self)

    async def _watch_room(self) -> None:
        """Follows the room until the stream breaks."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for room in self._dispatch.WatchRoom(dispatch_pb2.WatchRoomRequest(), wait_for_ready=True):
                self.connected = True
                self.fingerprint = room.fingerprint
                if room.prefill_times != self._times_name:  # before its room is used: the order depends on it
                    await self._read_times(room.prefill_times)
                if room.accepting:
                    self.served = True
                    self.message = ""
                    self._idle.clear()
                    self.enter(ReplicaState.SERVING)
                elif self.state is ReplicaState.SERVING:
                    self.enter(ReplicaState.RECOVERING)
                    self._not_accepting()
                self._observer.room_changed(self, room)

    async def _read_times(self, name: str) -> None:
        self.times, self._times_name = None, name
        if name:
            request = dispatch_pb2.GetPrefillTimesRequest()
            answer = await self._dispatch.GetPrefillTimes(request, timeout=_TIMES_SECONDS)
            self.times, self._times_name = PrefillTable(answer.seconds, answer.stride), answer.prefill_times

    async def _report_room(self) -> None:
        dispatch = self._dispatch
        if dispatch is None:
            return
        call = dispatch.WatchRoom(dispatch_pb2.WatchRoomRequest(), timeout=_ROOM_SECONDS)
        try:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):  # the latter: its channel closed
                room = await call.read()
                if isinstance(room, dispatch_pb2.WatchRoomResponse) and self._dispatch is dispatch:
                    self._observer.room_changed(self, room)
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
                self._observer.status_read(self, status)
                if status.phase == control_pb2.REPLICA_PHASE_FAILED:
                    self.message = status.message
                    return
            if self._idle.is_set():
                await asyncio.sleep(_STATUS_SECONDS)
            else:
                await self._idle.wait()

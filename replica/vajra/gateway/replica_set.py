"""The replicas of one gateway: all started together, each kept alive by its link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from vajra.control.v1 import control_pb2
from vajra.gateway.dispatcher import Dispatcher
from vajra.gateway.errors import StartupError
from vajra.gateway.replica_link import RecoveryLimits, ReplicaLink, ReplicaState
from vajra.gateway.replica_process import ReplicaLauncher

log = logging.getLogger(__name__)


class Change:
    """Something to wait for, again and again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next `announce`. Take it before you look at what may have changed."""
        return self._event

    def announce(self) -> None:
        self._event.set()
        self._event = asyncio.Event()


class ReplicaSet:
    """Empty until `start`. `change` is announced whenever a replica's state changes.

    Args:
        progress: called as (stage, percent, 100) until the first replica serves.
    """

    def __init__(self, change: Change, progress: Callable[[str, int, int], None] | None) -> None:
        self.links: Sequence[ReplicaLink] = ()  # by index
        self._change = change
        self._progress = progress
        self._up = False
        self._dispatcher: Dispatcher
        self._supervision: list[asyncio.Task[None]] = []

    def start(self, launcher: ReplicaLauncher, recovery: RecoveryLimits, dispatcher: Dispatcher) -> None:
        """Takes over the launcher's replicas, for the dispatcher to use."""
        self._dispatcher = dispatcher
        self.links = [
            ReplicaLink(
                index,
                launcher,
                recovery,
                on_room=dispatcher.room_changed,
                on_lost=dispatcher.replica_lost,
                on_change=self._replica_changed,
                on_status=self._report_progress,
            )
            for index in range(launcher.num_replicas)
        ]
        self._supervision = [asyncio.create_task(link.supervise()) for link in self.links]

    async def stop(self, *, kill: bool) -> None:
        """Ends every replica: at once with `kill`, else when it has drained. Idempotent."""
        for link in self.links:
            link.stop(kill=kill)
        await asyncio.gather(*self._supervision, return_exceptions=True)

    @property
    def serving(self) -> bool:
        """Whether a replica takes sequences now."""
        return any(link.state is ReplicaState.SERVING for link in self.links)

    @property
    def fingerprint(self) -> str:
        """Numerics fingerprint of a replica that serves, else of one that did."""
        serving = [link for link in self.links if link.state is ReplicaState.SERVING]
        return next((link.fingerprint for link in [*serving, *self.links] if link.fingerprint), "")

    async def served(self) -> None:
        """Waits until a replica serves. Raises StartupError when none will."""
        while not self.serving:
            change = self._change.next
            if self._all_failed:
                raise StartupError(f"no replica came up: {self._reasons}")
            await change.wait()
        self._up, self._progress = True, None
        for link in self.links:
            self._log_if_failed(link)

    async def failed(self) -> str:
        """Waits until no replica will ever serve again; why."""
        while True:
            change = self._change.next
            if self._all_failed:
                return f"every replica has failed for good: {self._reasons}"
            await change.wait()

    @property
    def _all_failed(self) -> bool:
        return all(link.state is ReplicaState.FAILED for link in self.links)

    @property
    def _reasons(self) -> str:
        """Why replicas failed, each reason once: they mostly share it."""
        return "; ".join(dict.fromkeys(link.message for link in self.links))

    def _replica_changed(self, link: ReplicaLink) -> None:
        if self._all_failed:  # not logged: it is what `served` raises or `failed` returns
            self._dispatcher.give_up(f"every replica has failed for good: {self._reasons}")
        elif self._up:
            self._log_if_failed(link)
        self._change.announce()

    def _log_if_failed(self, link: ReplicaLink) -> None:
        if link.state is ReplicaState.FAILED:
            log.error("replica %d has failed for good, the others go on: %s", link.index, link.message)

    def _report_progress(self, link: ReplicaLink, status: control_pb2.GetStatusResponse) -> None:
        """The first replica speaks for all: they load the same model."""
        if self._progress is not None and link.index == 0 and status.stages:
            stage = status.stages[-1]
            self._progress(stage.name, round(stage.progress * 100), 100)

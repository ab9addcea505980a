"""The replicas of one gateway, wherever they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from vajra.control.v1 import control_pb2
from vajra.dispatch.v1 import dispatch_pb2
from vajra.gateway.dispatcher import Dispatcher
from vajra.gateway.errors import StartupError
from vajra.gateway.replica_link import LinkObserver, ReplicaLink, ReplicaState

log = logging.getLogger(__name__)


class ReplicaSource(Protocol):
    """Where replicas come from: processes that run here (LocalReplicas), or names in DNS (RemoteReplicas)."""

    @property
    def owned(self) -> bool:
        """Whether their processes are ours: then we wait for the first to serve, and they may all fail for good."""

    @property
    def trouble(self) -> str:
        """Why replicas may be missing; empty when all is well."""

    @property
    def links(self) -> Sequence[ReplicaLink]:
        """Those there are now."""

    def start(self, observer: LinkObserver) -> None:
        """Begins to follow them."""

    async def stop(self, *, kill: bool) -> None:
        """Lets go of them; ends what is ours, at once with `kill`. Idempotent."""


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
    """Follows a source's replicas for a dispatcher. `change` is announced whenever a replica's state changes.

    Args:
        progress: called as (stage, percent, 100) until the first replica serves.
    """

    def __init__(
        self,
        source: ReplicaSource,
        dispatcher: Dispatcher,
        change: Change,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self.has_served = False  # whether any replica ever has
        self._source, self._dispatcher, self._change = source, dispatcher, change
        self._progress = progress
        self._up = False

    async def start(self) -> None:
        """Returns when a replica serves, or at once where they are not ours. Raises StartupError when none will."""
        self._source.start(self)
        if self._source.owned:
            await self._served()

    async def stop(self, *, kill: bool) -> None:
        """Lets go of every replica; ends ours: at once with `kill`, else when they have drained. Idempotent."""
        await self._source.stop(kill=kill)

    @property
    def links(self) -> Sequence[ReplicaLink]:
        """The replicas there are now."""
        return self._source.links

    @property
    def serving(self) -> bool:
        """Whether a replica takes sequences now."""
        return any(link.state is ReplicaState.SERVING for link in self.links)

    @property
    def fingerprint(self) -> str:
        """Numerics fingerprint of a replica that serves, else of one that did."""
        serving = [link for link in self.links if link.state is ReplicaState.SERVING]
        return next((link.fingerprint for link in [*serving, *self.links] if link.fingerprint), "")

    @property
    def message(self) -> str:
        """Why no replica serves; empty when one does."""
        if self.serving:
            return ""
        known = [
            f"{link.name} is {link.state.value}{f' ({link.message})' if link.message else ''}" for link in self.links
        ]
        return f"no replica serves: {'; '.join(known) or self._source.trouble or 'none is known'}"

    async def failed(self) -> str:
        """Waits until no replica will ever serve again; why."""
        while True:
            change = self._change.next
            if self._all_failed:
                return f"every replica has failed for good: {self._reasons}"
            await change.wait()

    async def _served(self) -> None:
        while not self.serving:
            change = self._change.next
            if self._all_failed:
                raise StartupError(f"no replica came up: {self._reasons}")
            await change.wait()
        self._up, self._progress = True, None
        for link in self.links:
            self._log_if_failed(link)

    @property
    def _all_failed(self) -> bool:
        return self._source.owned and all(link.state is ReplicaState.FAILED for link in self.links)

    @property
    def _reasons(self) -> str:
        """Why replicas failed, each reason once: they mostly share it."""
        return "; ".join(dict.fromkeys(link.message for link in self.links))

    # ---- what links say

    def room_changed(self, link: ReplicaLink, room: dispatch_pb2.WatchRoomResponse) -> None:
        self._dispatcher.room_changed(link, room)

    def replica_lost(self, link: ReplicaLink) -> None:
        self._dispatcher.replica_lost(link)

    def state_changed(self, link: ReplicaLink) -> None:
        if link.state is ReplicaState.SERVING:
            self.has_served = True
        if self._all_failed:  # not logged: it is what `start` raises or `failed` returns
            self._dispatcher.give_up(f"every replica has failed for good: {self._reasons}")
        elif self._up:
            self._log_if_failed(link)
        self._change.announce()

    def status_read(self, link: ReplicaLink, status: control_pb2.GetStatusResponse) -> None:
        """The first replica speaks for all: they load the same model."""
        if self._progress is not None and link is self.links[0] and status.stages:
            stage = status.stages[-1]
            self._progress(stage.name, round(stage.progress * 100), 100)

    def _log_if_failed(self, link: ReplicaLink) -> None:
        if link.state is ReplicaState.FAILED:
            log.error("replica %s has failed for good, the others go on: %s", link.name, link.message)

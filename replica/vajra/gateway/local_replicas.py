"""Replicas as processes of this machine: each is started, kept alive, and given up when that does not help."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol, Self

from vajra.config import VajraDeployment
from vajra.gateway.replica_link import LinkObserver, ReplicaLink, ReplicaState
from vajra.gateway.replica_process import ReplicaLauncher, ReplicaProcess

log = logging.getLogger(__name__)

_EXIT_SECONDS = 5.0  # from the end of its streams to the end of its process


class RecoveryLimits(Protocol):
    """What is needed of a deployment's `recovery`."""

    @property
    def group_restart_limit(self) -> int: ...

    @property
    def backoff_base_seconds(self) -> int: ...

    @property
    def backoff_max_seconds(self) -> int: ...


class HasRecovery(Protocol):
    """Who knows the limits of the moment."""

    recovery: RecoveryLimits


class LocalReplicas:
    """A ReplicaSource over a launcher's processes."""

    owned = True
    trouble = ""

    def __init__(self, launcher: ReplicaLauncher, recovery: RecoveryLimits) -> None:
        self.links: Sequence[ReplicaLink] = ()  # by index
        self.recovery = recovery
        self._launcher = launcher
        self._keepers: list[_Keeper] = []
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def launch(cls, deployment: VajraDeployment) -> Self:
        """Starts the processes of a deployment."""
        launcher = ReplicaLauncher(deployment.to_dict(), deployment.replica_set_config.num_replicas)
        launcher.start_all()
        return cls(launcher, deployment.spec.recovery)

    def adopt(self, deployment: VajraDeployment) -> None:
        """What processes are started with, and started again by, from now on."""
        self.recovery = deployment.spec.recovery
        self._launcher.rewrite(deployment.to_dict())

    def start(self, observer: LinkObserver) -> None:
        """Follows the processes and keeps them alive from here on."""
        self.links = [ReplicaLink(str(index), observer) for index in range(self._launcher.num_replicas)]
        self._keepers = [_Keeper(link, index, self._launcher, self) for index, link in enumerate(self.links)]
        self._tasks = [asyncio.create_task(keeper.run()) for keeper in self._keepers]

    async def stop(self, *, kill: bool) -> None:
        """Ends every process: at once with `kill`, else when it has drained. Idempotent."""
        for keeper in self._keepers:
            keeper.stop(kill=kill)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._launcher.close()


class _Keeper:
    """Keeps one replica's process alive until `stop`, or until it is given up."""

    def __init__(self, link: ReplicaLink, index: int, launcher: ReplicaLauncher, limits: HasRecovery) -> None:
        """`limits.recovery` is looked at when it matters: it may change."""
        self._link, self._index, self._launcher, self._limits = link, index, launcher, limits
        self._process: ReplicaProcess | None = None
        self._record = 0  # restarts that count towards the limit
        self._stopping = False

    async def run(self) -> None:
        """From the first start to the last end."""
        link = self._link
        while not self._stopping:
            link.enter(ReplicaState.STARTING)
            started = time.monotonic()
            await self._live()
            if self._stopping:
                break
            if time.monotonic() - started > self._limits.recovery.backoff_max_seconds:
                self._record = 0
            if not link.served or self._record >= self._limits.recovery.group_restart_limit:
                link.enter(ReplicaState.FAILED)  # whose `message` the replica set tells
                return
            log.warning("replica %s: %s", link.name, link.message)
            self._record += 1
            link.restarts += 1
            link.enter(ReplicaState.WAITING)
            await asyncio.sleep(self._backoff())
        link.enter(ReplicaState.STOPPED)

    def stop(self, *, kill: bool) -> None:
        """Ends the process, which drains first unless `kill`; `run` returns when it is gone."""
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
        delay = self._limits.recovery.backoff_base_seconds * 2.0 ** (self._record - 2)
        return min(delay, float(self._limits.recovery.backoff_max_seconds))

    async def _live(self) -> None:
        """One process, from its start to its end."""
        link, loop = self._link, asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()
        self._process = process = self._launcher.launch(self._index)
        link.pid = process.pid
        process.on_exit(lambda status: _from_thread(loop, exited, status))
        following = asyncio.create_task(link.follow(process.address))
        try:
            life: list[asyncio.Future[Any]] = [exited, following]
            await asyncio.wait(life, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and not self._stopping:  # hung, cut off, or failed and said so
                await asyncio.wait([exited], timeout=0 if link.message else _EXIT_SECONDS)
                process.kill()
            status = await exited
            link.message = link.message or f"its process exited with status {status}; its own messages are above"
        finally:
            process.kill()
            self._process = link.pid = None
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _from_thread(loop: asyncio.AbstractEventLoop, future: asyncio.Future[int], status: int) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(status))

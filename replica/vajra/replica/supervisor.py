"""Keeps one worker alive: watches its step counter, kills it when it stands still, starts it again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from vajra.replica.worker_exit import describe_exit
from vajra.replica.worker_process import WorkerProcess
from vajra.worker.protocol import Fault, FromWorker, Heartbeat, Loading, Plan, Ready, Result, ToWorker
from vajra.worker.resources import oom_kills

log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.25


class RecoveryLimits(Protocol):
    """What a deployment's `recovery` says."""

    @property
    def stall_timeout_seconds(self) -> int:
        """A step counter that stands still this long with work pending means stuck."""

    @property
    def worker_restart_limit(self) -> int:
        """Restarts before the replica gives up."""

    @property
    def backoff_base_seconds(self) -> int:
        """Wait before the second restart; it doubles for each further one. The first is immediate."""

    @property
    def backoff_max_seconds(self) -> int:
        """The longest wait; a worker that lived longer than this starts with a clean record."""


class Stage:
    """One stage of startup and its clock."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.started = now
        self.ended: float | None = None
        self.progress = 0.0

    def update(self, progress: float, now: float) -> None:
        """Progress from 0 to 1; the clock stops at 1."""
        self.progress = progress
        self.ended = now if progress >= 1.0 else None

    def seconds(self, now: float) -> float:
        """How long it took, or takes so far."""
        return (self.ended if self.ended is not None else now) - self.started


class Supervisor:
    """Owns the worker process. The controller hears `on_ready` for each (re)start, `on_result` per step,
    `on_lost` when everything in the worker is gone, and then `on_failed` when it will not be back.

    `on_lost` answers whether the cause has been found and removed: such a death does not count towards the limit."""

    def __init__(
        self,
        worker: WorkerProcess,
        spawn: Callable[[], WorkerProcess],
        recovery: RecoveryLimits,
        *,
        on_ready: Callable[[Ready], None],
        on_result: Callable[[Result], None],
        on_lost: Callable[[str], bool],
        on_failed: Callable[[str], None],
    ) -> None:
        self.recovery = recovery
        self.restarts = 0
        self.steps = 0
        self.pending = 0
        self.message = ""
        self.ready = False
        self.stages: list[Stage] = []
        self.heartbeat = time.monotonic()
        self._worker = worker
        self._spawn = spawn
        self._on_ready, self._on_result = on_ready, on_result
        self._on_lost, self._on_failed = on_lost, on_failed
        self._fault: Fault | None = None
        self._stall = ""
        self._progress = self._ready_since = self.heartbeat  # of the step counter
        self._record = 0  # restarts that count towards the limit
        self._stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def pid(self) -> int:
        """The current worker's process id."""
        return self._worker.pid

    @property
    def refused(self) -> bool:
        """Whether the worker does not serve such a configuration."""
        return self._fault is not None and self._fault.refused

    async def start(self) -> None:
        """Connects to the worker and starts to watch it."""
        await self._connect()
        self._task(self._watch())

    async def stop(self) -> None:
        """Ends the worker; no callback follows."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await self._worker.close()

    def give_up(self) -> None:
        """Ends the worker for good without waiting for it; no callback follows."""
        self._stopping, self.ready = True, False
        self._worker.kill()

    def send(self, messages: list[ToWorker]) -> None:
        """Sends to the worker, which is ready."""
        plans = sum(isinstance(m, Plan) for m in messages)
        if plans and not self.pending:
            self._progress = time.monotonic()
        self.pending += plans
        self._worker.send(messages)

    def enter(self, stage: str, progress: float) -> None:
        """Startup is in `stage`, this far from 0 to 1; the stage before has ended."""
        now = time.monotonic()
        if self.stages[-1].name != stage:
            self.stages[-1].update(1.0, now)
            self.stages.append(Stage(stage, now))
        self.stages[-1].update(progress, now)

    def _task(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        self._fault = None
        self._stall = ""  # why we killed it
        self._oom_kills = oom_kills()
        self.stages = [Stage("ProcessStart", self._worker.started)]
        await self._worker.connect(self._receive, self._exited)

    def _receive(self, message: FromWorker) -> None:
        self.heartbeat = now = time.monotonic()
        if isinstance(message, Result):
            self.steps += 1
            self.pending -= 1
            self._progress = now
            self._on_result(message)
        elif isinstance(message, Ready):
            self.ready, self.message, self._ready_since = True, "", now
            self._on_ready(message)
        elif isinstance(message, Loading):
            self.enter(message.stage, message.progress)
        elif isinstance(message, Fault):
            self._fault = message
        elif not isinstance(message, Heartbeat):
            raise TypeError(f"unexpected {type(message).__name__} from the worker")

    def _exited(self, status: int) -> None:
        if self._stopping:
            return
        now = time.monotonic()
        was_ready, self.ready = self.ready, False
        self.pending = self.steps = 0
        self.message = self._describe(status)
        if was_ready and now - self._ready_since > self.recovery.backoff_max_seconds:
            self._record = 0
        if self._fault is not None and self._fault.permanent:
            self._on_failed(self.message)
            return
        explained = self._on_lost(self.message)
        if not explained and self._record >= self.recovery.worker_restart_limit:
            self._on_failed(
                f"{self.message} It has been started again {self._record} times (recovery.workerRestartLimit)."
            )
            return
        self.restarts += 1
        delay = 0.0
        if not explained:
            self._record += 1
            delay = self._backoff()
        log.warning("%s Starting it again (%d)%s.", self.message, self.restarts, f" in {delay:.0f} s" if delay else "")
        self._task(self._respawn(delay))

    def _describe(self, status: int) -> str:
        if self._fault is not None:
            return self._fault.message if self._fault.permanent else f"The worker failed: {self._fault.message}."
        before, after = self._oom_kills, oom_kills()
        killed = after - before if before is not None and after is not None else None
        return self._stall or describe_exit(status, killed)

    def _backoff(self) -> float:
        """The first restart is immediate, then the wait doubles."""
        if self._record <= 1:
            return 0.0
        delay = self.recovery.backoff_base_seconds * 2.0 ** (self._record - 2)
        return min(delay, float(self.recovery.backoff_max_seconds))

    async def _respawn(self, delay: float) -> None:
        await asyncio.sleep(delay)
        try:
            self._worker = self._spawn()
            await self._connect()
        except OSError as error:
            self._on_failed(f"The worker cannot be started again: {error}.")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            standing = time.monotonic() - self._progress
            limit = self.recovery.stall_timeout_seconds
            if self.ready and self.pending and standing > limit:
                self.message = self._stall = (
                    f"The worker was killed, for its step counter stood still for {standing:.0f} s "
                    f"with {self.pending} steps pending (recovery.stallTimeoutSeconds is {limit}; "
                    "if steps may take that long here, raise it or lower the scheduler's chunk size)."
                )
                log.error("worker %d: %s", self.pid, self.message)
                self.ready = False
                self._worker.kill()

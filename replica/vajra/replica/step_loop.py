"""The step loop: the scheduler's plans out to the worker, its results back, one batch ahead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from vajra.scheduling import Batch, BlockManager, IntegrityError, ReplicaScheduler
from vajra.worker.protocol import Add, Free, Plan, Result, ToWorker

log = logging.getLogger(__name__)

STEPS_IN_FLIGHT = 2  # one runs, one is queued
_AUDIT_SECONDS = 1.0  # of idleness: auditing a large pool takes long enough to hold up an answer


class Worker(Protocol):
    """What plans are sent to."""

    @property
    def ready(self) -> bool: ...

    def send(self, messages: list[ToWorker]) -> None: ...


class StepLoop:
    """At most two steps are with the worker: one runs, one is queued, and the next is planned as soon as a result
    comes. Until a worker is connected, sequences wait in the scheduler and nothing is sent."""

    def __init__(
        self,
        scheduler: ReplicaScheduler,
        worker: Worker,
        on_planned: Callable[[], None],
        on_timed: Callable[[Batch, float], None],
    ) -> None:
        """`on_planned` follows every planning: slots and blocks may have changed. `on_timed` hears how many seconds the
        engine took for a batch."""
        self.scheduler = scheduler
        self.notices: list[str] = []
        self._worker = worker
        self._on_planned, self._on_timed = on_planned, on_timed
        self._in_flight: deque[Batch] = deque()
        self._outbox: list[ToWorker] = []
        self._connected = False
        self._due = False
        self._audited = True
        self._audit_due: asyncio.TimerHandle | None = None

    @property
    def _open(self) -> bool:
        """Whether there is somebody to send to: not between a worker's loss and the next one's warm-up."""
        return self._connected and self._worker.ready

    def post(self, message: Add | Free) -> None:
        """Leaves with the next plans; a worker that is not there will be told everything by `connected`."""
        self._audited = False
        if self._open:
            self._outbox.append(message)

    def connected(self, known: list[ToWorker]) -> None:
        """A new worker can serve: it learns of the sequences that are `known`, and work goes on."""
        self._connected = True
        self._outbox = known
        self.plan()

    def lost(self) -> set[int]:
        """The worker is gone: everything waits again. Returns the sequences that it had steps of."""
        self._connected = False
        had = {item.seq_id for batch in self._in_flight for item in batch.items}
        self._in_flight.clear()
        self._outbox.clear()
        self.scheduler.restart()
        return had

    def plan_soon(self) -> None:
        """Plans once per turn of the event loop, so that requests which arrive together run together."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.plan)

    def plan(self) -> None:
        """Plans and sends as many steps as may be in flight."""
        self._due = False
        if self._open:
            while len(self._in_flight) < STEPS_IN_FLIGHT:
                batch = self.scheduler.schedule(time.monotonic())
                if not batch:
                    break
                self._in_flight.append(batch)
                self._outbox.append(Plan(batch.step_id, batch.items, batch.preempted))  # type: ignore[arg-type]
            if self._outbox:
                self._worker.send(self._outbox)
                self._outbox = []
        if not (len(self.scheduler) or self._audited or self._audit_due):
            self._audit_due = asyncio.get_running_loop().call_later(_AUDIT_SECONDS, self._audit)
        self._on_planned()

    def done(self, result: Result) -> None:
        """Books a result; `plan` comes after what it ended was removed."""
        batch = self._in_flight.popleft()
        if batch.step_id != result.step_id:
            raise RuntimeError(f"step {result.step_id} came back, {batch.step_id} was due")
        self.scheduler.complete(batch, [token.seq_id for token in result.tokens])
        self._on_timed(batch, result.seconds)

    def _audit(self) -> None:
        """Checks the books when the replica has been idle for a while; faults are ours, so they are loud."""
        self._audit_due = None
        if len(self.scheduler):
            return
        self._audited = True
        try:
            self.scheduler.check_integrity()
        except IntegrityError as error:
            log.exception("the KV block books do not balance; starting them anew")
            self.notices.append(f"internal error, please report: {error}")
            blocks = self.scheduler.blocks
            self.scheduler.blocks = BlockManager(blocks.num_blocks, blocks.block_size)

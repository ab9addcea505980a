"""The clock of a simulation: arrivals and steps' ends, in order, through the real queue and the real schedulers."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from vajra.scheduling import Prioritizer, QueuedRequest, QueueFull, ReplicaSetQueue
from vajra.scheduling import Sequence as ScheduledSequence
from vajra.simulator.replica import SimulatedReplica, Step
from vajra.simulator.running import Running
from vajra.simulator.workload import Request


class Observer(Protocol):
    """Hears of everything that happens, in order of time."""

    def arrived(self, now: float, request: Request) -> None:
        """A request reaches the gateway."""

    def refused(self, now: float, request: Request, reason: str) -> None:
        """It does not get into the queue."""

    def gap(self, seconds: float, count: int) -> None:
        """So many sequences got another token, `seconds` after the last."""

    def step(self, now: float, replica: SimulatedReplica, step: Step) -> None:
        """A step has left the last stage."""

    def prefilled(self, now: float, running: Running) -> None:
        """A request has its first token."""

    def finished(self, now: float, running: Running) -> None:
        """A request has its last token."""


class Simulation:
    """Requests through one replica set, on a clock of its own.

    What happens, happens as in the real system: the gateway binds a request when a replica has a slot and KV blocks for
    it; a replica plans one step ahead of the one that runs, so what arrives waits for both; a replica that completes a
    step plans the next before the gateway hears of the room. Messages take no time, `gateway_seconds` apart.
    """

    def __init__(
        self,
        replicas: Sequence[SimulatedReplica],
        prioritizer: Prioritizer,
        observer: Observer,
        *,
        queue_capacity: int,
        max_model_len: int,
        gateway_seconds: float = 0.0,
    ) -> None:
        """`prioritizer` is the gateway's; each replica has its own, as processes have. `gateway_seconds` pass from a
        request's arrival until it can be bound to a replica."""
        self.replicas = replicas
        self.steps = 0
        self.now = 0.0
        self._observer = observer
        self._queue = ReplicaSetQueue(prioritizer, queue_capacity)
        self._max_model_len = max_model_len
        self._gateway_seconds = gateway_seconds
        self._accounts = prioritizer.accounts
        self._running: dict[int, Running] = {}  # of all that has been admitted and has not ended
        self._ids = itertools.count(1)
        self._ends: list[tuple[float, int, int]] = []  # of steps in flight: time, order of planning, replica
        self._planned = itertools.count()
        for replica in replicas:
            self._tell_room(replica)

    @property
    def num_waiting(self) -> int:
        """Requests in the gateway's queue."""
        return len(self._queue)

    @property
    def num_running(self) -> int:
        """Requests at replicas."""
        return len(self._running) - len(self._queue)

    def run(self, requests: Iterable[Request], *, stop: Callable[[], bool] = lambda: False) -> None:
        """Simulates until all requests have ended, or `stop` says so: it is asked after each event."""
        stream = iter(requests)
        request = next(stream, None)
        ends, delay = self._ends, self._gateway_seconds
        while (request is not None or ends) and not stop():
            if request is not None and (not ends or request.arrival + delay <= ends[0][0]):
                now = request.arrival + delay
                self.now = now
                touched: dict[int, None] = {}
                while request is not None and request.arrival + delay <= now:
                    self._arrive(now, request, touched)
                    request = next(stream, None)
                self._plan(now, touched)
            else:
                now = ends[0][0]
                self.now = now
                self._complete(now, self.replicas[heapq.heappop(ends)[2]])

    def _arrive(self, now: float, request: Request, touched: dict[int, None]) -> None:
        self._observer.arrived(now, request)
        tokens = request.prompt_tokens + (request.max_tokens or request.output_tokens)
        if tokens > self._max_model_len:
            self._observer.refused(now, request, "longer than max_model_len")
            return
        target = None if request.ttft_target is None else request.arrival + request.ttft_target
        seq_id = next(self._ids)
        queued = QueuedRequest(
            seq_id,
            request.prompt_tokens,
            request.prompt_tokens,
            request.arrival,
            ttft_target=target,
            tenant=request.tenant or "",
            tenant_weight=request.tenant_weight,
        )
        running = queued.payload = Running(seq_id, request, queued)
        try:
            self._queue.put(queued)
        except QueueFull:
            self._observer.refused(now, request, "the queue is full")
            return
        self._running[seq_id] = running
        self._dispatch(now, touched)

    def _dispatch(self, now: float, touched: dict[int, None]) -> None:
        for queued, name in self._queue.dispatch(now):
            running: Running = queued.payload
            request = running.request
            running.replica = name  # type: ignore[assignment]
            running.dispatched = now
            running.sequence = ScheduledSequence(
                running.seq_id,
                request.prompt_tokens,
                request.prompt_tokens,
                request.max_tokens or request.output_tokens,
                arrival=request.arrival,
                ttft_target=queued.ttft_target,
                tenant=queued.tenant,
                tenant_weight=queued.tenant_weight,
            )
            self.replicas[running.replica].add(running)
            touched[running.replica] = None

    def _plan(self, now: float, touched: dict[int, None]) -> None:
        """Plans on the replicas that were sent something, and on what they have room for then."""
        while touched:
            again: dict[int, None] = {}
            for index in touched:
                replica = self.replicas[index]
                before = replica.told
                self._plan_one(now, replica)
                # What could not be bound a moment ago still cannot, unless there is more room or another order.
                if self._tell_room(replica) and (self._accounts or replica.told.exceeds(before)):
                    self._dispatch(now, again)
            touched = again

    def _plan_one(self, now: float, replica: SimulatedReplica) -> None:
        for step in replica.plan(now, self._running):
            heapq.heappush(self._ends, (step.end, next(self._planned), replica.index))

    def _tell_room(self, replica: SimulatedReplica) -> bool:
        report = replica.room_if_changed()
        if report is None:
            return False
        self._queue.update_room(replica.index, report)
        return True

    def _complete(self, now: float, replica: SimulatedReplica) -> None:
        step = replica.in_flight.popleft()
        replica.scheduler.complete(step.batch, step.sampled)
        self.steps += 1
        seconds = step.end - step.start
        for running in step.partial:
            running.executed += seconds
        ended: list[Running] = []
        # Nearly all of a step's sequences had their last token at the same time.
        common, count = -1.0, 0
        observer = self._observer
        for running in step.sampling:
            produced = running.produced
            wanted = running.request.output_tokens
            if produced == wanted:  # it had ended when this step was planned ahead
                continue
            running.executed += seconds
            running.produced = produced = produced + 1
            if produced > 1:
                if running.last_token == common:
                    count += 1
                else:
                    if count:
                        observer.gap(now - common, count)
                    common, count = running.last_token, 1
            else:
                running.first_token = now
                sequence = running.sequence
                assert sequence is not None
                sequence.ledger.first_token = now
                due = replica.prioritizer.deadline(sequence)
                sequence.ledger.slack = None if due is None else due - now
                observer.prefilled(now, running)
            running.last_token = now
            if self._accounts:
                self._queue.served(running.queued, 1)
            if produced == wanted:
                ended.append(running)
        if count:
            observer.gap(now - common, count)
        for running in ended:
            replica.scheduler.remove(running.seq_id)
        self._plan_one(now, replica)
        observer.step(now, replica, step)
        for running in ended:
            del self._running[running.seq_id]
            self._queue.settle(replica.index, running.seq_id)
            observer.finished(now, running)
        if self._tell_room(replica) or ended:
            touched: dict[int, None] = {}
            self._dispatch(now, touched)
            self._plan(now, touched)

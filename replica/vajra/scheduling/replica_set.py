"""The replica set's queue: one priority order for all replicas, bound late, to a replica that has room."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from heapq import heapify, heappop
from typing import Any, NamedTuple

from vajra.scheduling.ahead import AheadCounts
from vajra.scheduling.batch import Room
from vajra.scheduling.prioritizer import Prioritizer
from vajra.scheduling.sequence import Blocked
from vajra.scheduling.waiting import Since, WaitBook


class QueueFull(RuntimeError):
    """The queue is at capacity; the request was not taken. `capacity` says how much that is."""

    def __init__(self, capacity: int) -> None:
        super().__init__(f"{capacity} requests are waiting already, which is the queue's capacity; try again later")
        self.capacity = capacity


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """One sequence that waits for a replica. Times are seconds on the caller's clock."""

    request_id: Hashable  # unique while in the queue or in flight
    num_tokens: int  # whole prompt, and what was generated before (resume): these need KV blocks
    num_prompt_tokens: int
    arrival: float
    deadline: float | None = None  # the whole request is worth nothing after it
    ttft_target: float | None = None  # when the first token is due, if the request says so
    tenant: str = ""  # whose it is; empty where clients have no names
    tenant_weight: float = 1.0
    payload: Any = None  # the caller's own
    excluded: frozenset[Hashable] = frozenset()  # replicas that must not get it
    blocked: dict[Blocked, int] = field(default_factory=dict)  # dispatches that left it out, by reason
    ahead: AheadCounts = field(default_factory=AheadCounts)  # who was bound meanwhile; both are whole when it leaves
    since: Since = field(default_factory=Since)  # the queue's own

    @property
    def processed(self) -> int:
        """Nothing yet."""
        return 0

    @property
    def remaining_prefill(self) -> int:
        """All of it: nothing has been computed while it is in this queue."""
        return self.num_tokens


class RoomReport(NamedTuple):
    """What a replica said last (dispatch.v1 WatchRoomResponse)."""

    free_slots: int
    free_blocks: int
    block_size: int
    accepted: int  # sequences accepted so far, ever
    accepting: bool = True

    def exceeds(self, other: RoomReport) -> bool:
        """Whether anything might fit here that did not fit there."""
        return self.free_slots > other.free_slots or self.free_blocks > other.free_blocks


class _Replica:
    """A replica's last report, and what has been sent to it that the report does not count yet."""

    __slots__ = ("_pending", "_unseen", "name", "number", "place", "report")

    def __init__(self, name: Hashable, number: int, report: RoomReport) -> None:
        self.name, self.number = name, number
        self.report = report
        self.place: tuple[int, int, int, _Replica] | None = None  # among the replicas that have a free slot
        self._unseen: OrderedDict[Hashable, int] = OrderedDict()  # request id -> tokens, in order of sending
        self._pending = 0  # blocks for them

    def update(self, report: RoomReport) -> None:
        for _ in range(min(report.accepted - self.report.accepted, len(self._unseen))):
            self._unseen.popitem(last=False)
        self.report = report
        self._pending = sum(map(self.blocks_for, self._unseen.values()))

    def send(self, request: QueuedRequest) -> None:
        self._unseen[request.request_id] = request.num_tokens
        self._pending += self.blocks_for(request.num_tokens)

    def settle(self, request_id: Hashable) -> None:
        self._pending -= self.blocks_for(self._unseen.pop(request_id, 0))

    def room(self) -> tuple[int, int]:
        """(free blocks, free slots) left; (0, 0) when it accepts nothing."""
        report = self.report
        if not report.accepting:
            return 0, 0
        return report.free_blocks - self._pending, report.free_slots - len(self._unseen)

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.report.block_size)


class ReplicaSetQueue:
    """One bounded priority queue in front of any number of replicas.

    A request leaves the queue only for a replica with a free sequence slot and free KV blocks for all its
    tokens; until then it stays here, where a more urgent one can still pass it. The replica with most free
    blocks gets it (then most slots, then first added). Nobody passes a request for which no replica has blocks, so
    that large requests do not starve.
    """

    def __init__(self, prioritizer: Prioritizer, capacity: int) -> None:
        self.capacity = capacity
        self._prioritizer = prioritizer
        self._queue: dict[Hashable, QueuedRequest] = {}
        self._sizes: list[int] = []  # tokens of what waits, ascending
        self._book = WaitBook()
        self._replicas: dict[Hashable, _Replica] = {}
        self._numbers = itertools.count()
        self._open: list[tuple[int, int, int, _Replica]] = []  # those with a free slot, the one with most room last

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, request: QueuedRequest, *, resumed: bool = False) -> None:
        """Queues a request. Raises QueueFull at capacity (never for a `resumed` one: it was admitted before) and
        ValueError for an id that waits already."""
        if request.request_id in self._queue:
            raise ValueError(f"request {request.request_id!r} waits already")
        if not resumed and len(self._queue) >= self.capacity:
            raise QueueFull(self.capacity)
        request.since = self._book.now()
        self._queue[request.request_id] = request
        insort(self._sizes, request.num_tokens)
        self._prioritizer.joined(request)

    def cancel(self, request_id: Hashable) -> QueuedRequest | None:
        """Takes a request out; None if it does not wait (any more)."""
        request = self._queue.pop(request_id, None)
        if request is not None:
            self._leave(request, self._book.now())
        return request

    def expire(self, now: float) -> list[QueuedRequest]:
        """Takes out every request whose deadline has passed."""
        expired = [r for r in self._queue.values() if r.deadline is not None and r.deadline <= now]
        for request in expired:
            self.cancel(request.request_id)
        return expired

    def next_deadline(self) -> float | None:
        """The earliest deadline in the queue: when to call `expire`."""
        return min((r.deadline for r in self._queue.values() if r.deadline is not None), default=None)

    def drain(self) -> list[QueuedRequest]:
        """Takes everything out, in order of arrival."""
        requests = sorted(self._queue.values(), key=lambda r: r.arrival)
        for request in requests:
            self.cancel(request.request_id)
        return requests

    def set_prioritizer(self, prioritizer: Prioritizer) -> None:
        """Orders the queue anew, with immediate effect."""
        self._prioritizer = prioritizer
        for request in self._queue.values():
            prioritizer.joined(request)

    def served(self, request: QueuedRequest, tokens: int) -> None:
        """A request that was dispatched has had so many tokens more."""
        self._prioritizer.served(request, decode=tokens)

    def update_room(self, replica: Hashable, report: RoomReport) -> None:
        """Takes a replica's report; the first one adds the replica."""
        state = self._replicas.get(replica)
        if state is None:
            state = self._replicas[replica] = _Replica(replica, next(self._numbers), report)
        else:
            state.update(report)
        self._place(state)

    def remove_replica(self, replica: Hashable) -> None:
        """Forgets a replica: call it when its room stream breaks, for its counter starts anew."""
        state = self._replicas.pop(replica, None)
        if state is not None:
            self._displace(state)

    def settle(self, replica: Hashable, request_id: Hashable) -> None:
        """A dispatched request has ended, whether or not the replica ever counted it as accepted."""
        state = self._replicas.get(replica)
        if state is not None:
            state.settle(request_id)
            self._place(state)

    def room(self, replica: Hashable) -> Room:
        """What `replica` can take, what was sent since its last report subtracted."""
        state = self._replicas.get(replica)
        blocks, slots = state.room() if state is not None else (0, 0)
        return Room(max(0, slots), max(0, blocks))

    def dispatch(self, now: float) -> list[tuple[QueuedRequest, Hashable]]:
        """Binds what can be bound now, most urgent first, and counts it as sent. Call it after every `put`,
        `update_room` and `settle`; call `expire` before it."""
        if not self._queue or not self._open:
            return []
        blocks, _, _, roomiest = self._open[-1]
        if roomiest.blocks_for(self._sizes[0]) > blocks:
            self._book.left_out(Blocked.MEMORY)
            return []
        keys = self._prioritizer.keys(self._queue.values(), now)
        before = self._book.now()
        bound: list[tuple[QueuedRequest, Hashable]] = []
        passed_over: list[QueuedRequest] = []
        waits_for_memory = False
        order = [(key, r.arrival, n, r) for n, (key, r) in enumerate(zip(keys, self._queue.values(), strict=True))]
        heapify(order)  # most of a long queue is not looked at
        while order:
            if not self._open or waits_for_memory:
                reason = Blocked.ORDER if self._open else Blocked.SLOTS
                self._book.left_out(reason)
                for request in passed_over:  # these have their own reason in this round
                    request.since.skip(reason)
                break
            request = heappop(order)[-1]
            replica, obstacle = self._choose(request)
            if replica is None:
                request.blocked[obstacle] = request.blocked.get(obstacle, 0) + 1
                passed_over.append(request)
                waits_for_memory = obstacle is Blocked.MEMORY
                continue
            del self._queue[request.request_id]
            self._leave(request, before)
            self._prioritizer.served(request, prefill=request.num_tokens)
            replica.send(request)
            self._place(replica)
            self._book.bound(str(request.request_id), request.tenant)
            bound.append((request, replica.name))
        return bound

    def _leave(self, request: QueuedRequest, until: Since) -> None:
        """It waits no more: its wait is settled."""
        del self._sizes[bisect_left(self._sizes, request.num_tokens)]
        self._prioritizer.left(request)
        for reason, rounds in self._book.rounds(request.since):
            if rounds:
                request.blocked[reason] = request.blocked.get(reason, 0) + rounds
        names, others = self._book.ahead(request.since, until, request.tenant)
        for name in names:
            request.ahead.note(name)
        request.ahead.others += others

    def _choose(self, request: QueuedRequest) -> tuple[_Replica | None, Blocked]:
        """The replica with most room for `request`, or None and why there is none."""
        obstacle = Blocked.SLOTS
        for blocks, _, _, replica in reversed(self._open):
            if replica.name in request.excluded:
                continue
            if replica.blocks_for(request.num_tokens) <= blocks:
                return replica, obstacle
            obstacle = Blocked.MEMORY
        return None, obstacle

    def _place(self, replica: _Replica) -> None:
        """Its room may be another one now."""
        blocks, slots = replica.room()
        place = (blocks, slots, -replica.number, replica)
        if replica.place is not None:
            if replica.place[:2] == (blocks, slots):
                return
            self._displace(replica)
        if slots > 0:
            replica.place = place
            insort(self._open, place)

    def _displace(self, replica: _Replica) -> None:
        if replica.place is not None:
            del self._open[bisect_left(self._open, replica.place)]
            replica.place = None

"""The replica set's queue: order, late binding, room accounting, bounds."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vajra.config import FcfsRequestPrioritizerConfig
from vajra.scheduling import FcfsPrioritizer, QueuedRequest, QueueFull, ReplicaSetQueue, RoomReport

FCFS = FcfsPrioritizer(FcfsRequestPrioritizerConfig())


def make(capacity: int = 100) -> ReplicaSetQueue:
    return ReplicaSetQueue(FCFS, capacity)


def queued(name: str, tokens: int = 16, arrival: float = 0.0, deadline: float | None = None) -> QueuedRequest:
    return QueuedRequest(name, tokens, tokens, arrival, deadline)


def dispatch(queue: ReplicaSetQueue) -> list[tuple[object, object]]:
    return [(request.request_id, replica) for request, replica in queue.dispatch(0.0)]


def test_the_replica_with_most_room_gets_the_next() -> None:
    queue = make()
    queue.update_room("a", RoomReport(8, 10, 16, 0))
    queue.update_room("b", RoomReport(8, 12, 16, 0))
    for index in range(4):
        queue.put(queued(f"r{index}", 32, arrival=index))
    assert dispatch(queue) == [("r0", "b"), ("r1", "a"), ("r2", "b"), ("r3", "a")]


def test_nothing_is_bound_without_a_slot_and_blocks_for_the_whole_prompt() -> None:
    queue = make()
    queue.put(queued("r", 160))
    assert dispatch(queue) == []
    queue.update_room("a", RoomReport(8, 9, 16, 0))
    assert dispatch(queue) == []
    queue.update_room("a", RoomReport(0, 10, 16, 0))
    assert dispatch(queue) == []
    queue.update_room("a", RoomReport(1, 10, 16, 0, accepting=False))
    assert dispatch(queue) == []
    queue.update_room("a", RoomReport(1, 10, 16, 0))
    assert dispatch(queue) == [("r", "a")]


def test_what_was_sent_is_subtracted_until_the_replica_counts_it() -> None:
    queue = make()
    queue.update_room("a", RoomReport(2, 10, 16, accepted=5))
    for name in ("r0", "r1", "r2"):
        queue.put(queued(name))
    assert dispatch(queue) == [("r0", "a"), ("r1", "a")]
    queue.update_room("a", RoomReport(2, 10, 16, accepted=5))  # written before it had seen either
    assert dispatch(queue) == []
    queue.update_room("a", RoomReport(1, 9, 16, accepted=6))
    assert dispatch(queue) == []
    queue.settle("a", "r1")  # refused, or cancelled on its way
    assert dispatch(queue) == [("r2", "a")]


def test_a_small_request_does_not_pass_an_older_large_one() -> None:
    queue = make()
    queue.update_room("a", RoomReport(8, 4, 16, 0))
    queue.put(queued("large", 160, arrival=1.0))
    queue.put(queued("small", 16, arrival=2.0))
    queue.put(queued("older", 16, arrival=0.0))
    assert dispatch(queue) == [("older", "a")]
    queue.update_room("a", RoomReport(8, 10, 16, 1))
    assert dispatch(queue) == [("large", "a")]


def test_it_refuses_beyond_its_capacity_but_takes_a_resumed_request() -> None:
    queue = make(capacity=1)
    queue.put(queued("r0"))
    with pytest.raises(QueueFull, match="1 requests are waiting already"):
        queue.put(queued("r1"))
    queue.put(queued("r2"), resumed=True)
    assert len(queue) == 2


def test_expired_and_cancelled_requests_leave() -> None:
    queue = make()
    queue.put(queued("late", deadline=5.0))
    queue.put(queued("good", deadline=9.0))
    queue.put(queued("gone"))
    assert queue.next_deadline() == 5.0
    assert [request.request_id for request in queue.expire(5.0)] == ["late"]
    assert queue.cancel("gone") is not None
    assert queue.cancel("gone") is None
    queue.update_room("a", RoomReport(8, 10, 16, 0))
    assert dispatch(queue) == [("good", "a")]


def test_an_excluded_replica_is_passed_by() -> None:
    queue = make()
    queue.update_room("a", RoomReport(8, 10, 16, 0))
    queue.put(QueuedRequest("r", 16, 16, 0.0, excluded=frozenset({"a"})))
    assert dispatch(queue) == []
    queue.update_room("b", RoomReport(8, 1, 16, 0))
    assert dispatch(queue) == [("r", "b")]


class ReplicaModel:
    """A replica that accepts what arrives, in any order, and reports now and then."""

    def __init__(self, slots: int, blocks: int) -> None:
        self.slots, self.blocks = slots, blocks
        self.arriving: list[QueuedRequest] = []
        self.held: list[QueuedRequest] = []
        self.accepted = 0

    def report(self) -> RoomReport:
        used = sum(-(-request.num_tokens // 16) for request in self.held)
        return RoomReport(self.slots - len(self.held), self.blocks - used, 16, self.accepted)


class QueueMachine(RuleBasedStateMachine):
    """Whatever the order of reports and arrivals: nothing lost or doubled, no replica overcommitted, FCFS kept."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = make(capacity=20)
        self.replicas = {name: ReplicaModel(3, 12) for name in "ab"}
        self.waiting: dict[int, QueuedRequest] = {}
        self.passed: dict[int, int] = {}  # how many were bound in rounds that left a request out
        self.rounds: dict[int, int] = {}  # how many rounds those were
        self.next_id = 0
        for name, replica in self.replicas.items():
            self.queue.update_room(name, replica.report())

    @rule(tokens=st.integers(1, 180))
    def put(self, tokens: int) -> None:
        request = QueuedRequest(self.next_id, tokens, tokens, float(self.next_id))
        if len(self.waiting) == 20:
            with pytest.raises(QueueFull):
                self.queue.put(request)
            return
        self.queue.put(request)
        self.waiting[self.next_id] = request
        self.passed[self.next_id] = self.rounds[self.next_id] = 0
        self.next_id += 1

    @rule()
    def dispatch(self) -> None:
        with_slots = any(self.queue.room(name).free_slots for name in self.replicas)
        bound = self.queue.dispatch(0.0)
        for request, _ in bound:
            self.check_ledger(request)
        for request_id in self.waiting.keys() - {request.request_id for request, _ in bound}:
            self.passed[request_id] += len(bound)
            self.rounds[request_id] += with_slots
        for request, name in bound:
            del self.waiting[request.request_id]  # type: ignore[arg-type]
            assert not self.waiting or request.arrival < min(r.arrival for r in self.waiting.values())
            self.replicas[str(name)].arriving.append(request)

    def check_ledger(self, request: QueuedRequest) -> None:
        """The wait of a request that leaves is booked whole."""
        request_id: int = request.request_id  # type: ignore[assignment]
        assert sum(count for _, count in request.ahead.most(16)) == self.passed[request_id]
        assert sum(request.blocked.values()) == self.rounds[request_id]

    @precondition(lambda self: any(r.arriving for r in self.replicas.values()))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        replica = data.draw(st.sampled_from([r for r in self.replicas.values() if r.arriving]))
        replica.held.append(replica.arriving.pop(0))
        replica.accepted += 1

    @precondition(lambda self: any(r.held for r in self.replicas.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([n for n, r in self.replicas.items() if r.held]))
        replica = self.replicas[name]
        done = replica.held.pop(data.draw(st.integers(0, len(replica.held) - 1)))
        self.queue.update_room(name, replica.report())
        self.queue.settle(name, done.request_id)

    @rule(name=st.sampled_from("ab"))
    def report(self, name: str) -> None:
        self.queue.update_room(name, self.replicas[name].report())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.waiting)))
        request = self.waiting.pop(request_id)
        assert self.queue.cancel(request_id) is request
        self.check_ledger(request)

    @invariant()
    def nothing_is_lost_and_nobody_overcommitted(self) -> None:
        assert len(self.queue) == len(self.waiting)
        for replica in self.replicas.values():
            load = replica.held + replica.arriving
            assert len(load) <= replica.slots
            assert sum(-(-request.num_tokens // 16) for request in load) <= replica.blocks

    def teardown(self) -> None:
        """Progress: when everything arrives and finishes, the queue empties."""
        for _ in range(200):
            self.dispatch()
            for name, replica in self.replicas.items():
                replica.held += replica.arriving
                replica.accepted += len(replica.arriving)
                replica.arriving = []
                replica.held = []
                self.queue.update_room(name, replica.report())
        assert not self.waiting


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestQueue = QueueMachine.TestCase

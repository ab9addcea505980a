"""Behind whom a request waits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.scheduling.test_fixed_chunk import FCFS, make

from vajra.scheduling import AheadCounts, Blocked, QueuedRequest, ReplicaSetQueue, RoomReport, Sequence


@given(st.lists(st.integers(0, 40)), st.integers(0, 5))
def test_counts_are_bounded_and_none_is_lost(names: list[int], number: int) -> None:
    ahead, true = AheadCounts(), Counter(str(name) if name else "" for name in names)
    for name in names:
        ahead.note(str(name) if name else "")
    most = ahead.most(number)
    assert len([name for name, _ in most if name]) <= number
    assert sum(count for _, count in most) == len(names)
    assert all(count <= true[name] for name, count in most if name)
    if len(true.keys() - {""}) <= 16:
        assert [count for name, count in most if name] == sorted(
            (count for name, count in true.items() if name), reverse=True
        )[:number]


def test_whoever_takes_much_stays_named() -> None:
    ahead = AheadCounts()
    for i in range(1000):
        ahead.note("large")
        ahead.note(f"small {i}")
    assert ahead.most(1) == [("large", 1000), ("", 1000)]


def sequence(seq_id: int, prompt: int, tenant: str = "", output: int = 8) -> Sequence:
    return Sequence(seq_id, prompt, prompt, output, arrival=seq_id, name=f"s{seq_id}", tenant=tenant)


def test_who_got_the_tokens_the_place_or_the_memory() -> None:
    chunks = make(chunk_size=16)
    for seq in (first := sequence(1, 40), second := sequence(2, 40)):
        chunks.add(seq)
    chunks.schedule(0.0)
    chunks.schedule(0.0)
    assert (first.ledger.ahead.most(3), second.ledger.ahead.most(3)) == ([], [("s1", 2)])
    assert second.ledger.blocked == {Blocked.BUDGET: 2}

    places = make(max_batch_size=1)
    for seq in (sequence(1, 4), second := sequence(2, 4)):
        places.add(seq)
    places.schedule(0.0)
    assert (second.ledger.ahead.most(3), second.ledger.blocked) == ([("s1", 1)], {Blocked.SLOTS: 1})

    memory = make(num_blocks=20, block_size=4, chunk_size=64)
    for seq in (sequence(1, 40), big := sequence(2, 60), small := sequence(3, 4)):
        memory.add(seq)
    memory.schedule(0.0)
    assert (big.ledger.ahead.most(3), big.ledger.blocked) == ([("s1", 1)], {Blocked.MEMORY: 1})
    assert (small.ledger.ahead.most(3), small.ledger.blocked) == ([("s2", 1)], {Blocked.ORDER: 1})


def test_another_tenants_sequence_is_not_named() -> None:
    scheduler = make(chunk_size=16)
    ours, theirs = sequence(2, 40, "us"), sequence(3, 40, "us")
    for seq in (sequence(1, 20, "them"), ours, theirs):
        scheduler.add(seq)
    for _ in range(3):
        scheduler.schedule(0.0)
    assert ours.ledger.ahead.most(3) == [("", 1)]
    assert theirs.ledger.ahead.most(3) == [("s2", 1), ("", 2)]


def test_another_tenants_request_is_not_named_in_the_queue_either() -> None:
    queue = ReplicaSetQueue(FCFS, capacity=10)
    for i, tenant in enumerate(("them", "us", "us")):
        queue.put(QueuedRequest(f"r{i}", 16, 16, arrival=float(i), tenant=tenant))
    last = QueuedRequest("last", 16, 16, arrival=9.0, tenant="us")
    queue.put(last)
    queue.update_room("replica", RoomReport(2, 100, 16, accepted=0))
    queue.dispatch(10.0)
    queue.update_room("replica", RoomReport(2, 100, 16, accepted=2))
    assert [request.request_id for request, _ in queue.dispatch(11.0)] == ["r2", "last"]
    assert last.ahead.most(3) == [("r1", 1), ("", 1)]
    assert last.blocked == {Blocked.SLOTS: 1}

"""Relegation: who is too late anyway lets the others be in time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.scheduling.formula import Work

from vajra.config import EdfRequestPrioritizerConfig, FcfsRequestPrioritizerConfig, LrsRequestPrioritizerConfig
from vajra.scheduling import Prioritizer, RelegatingPrioritizer, Sequence, prioritizers

WORK = Work()


def wrapped(config: Any) -> RelegatingPrioritizer:
    return RelegatingPrioritizer(prioritizers.create(config, WORK), WORK)


def served_alone_in_order(prioritizer: Prioritizer, requests: list[Sequence]) -> dict[int, float]:
    """When each has its first token, on a server of one request at a time and a second per token, which looks at the
    order again after every token."""
    done: dict[int, float] = {}
    now = 0.0
    while len(done) < len(requests):
        here = [r for r in requests if r.arrival <= now and r.seq_id not in done]
        if here:
            first = min(here, key=lambda r: (prioritizer.key(r, now), r.seq_id))
            first.processed += 1
            if not first.remaining_prefill:
                done[first.seq_id] = now + 1
        now += 1
    return done


def sequence(seq_id: int, work: int, target: float | None, *, arrival: float = 0.0) -> Sequence:
    return Sequence(seq_id, work, work, 4, arrival=arrival, ttft_target=target)


@pytest.mark.parametrize("config", [EdfRequestPrioritizerConfig(), LrsRequestPrioritizerConfig()])
def test_under_overload_more_deadlines_are_met(config: Any) -> None:
    """Ten requests of 4 s, one every 3 s, each due 6.7 s after it comes: there is time for three quarters."""

    def met(prioritizer: Prioritizer) -> int:
        requests = [sequence(i, 4, 3.0 * i + 6.7, arrival=3.0 * i) for i in range(10)]
        done = served_alone_in_order(prioritizer, requests)
        return sum(done[r.seq_id] <= (r.ttft_target or 0.0) for r in requests)

    assert met(prioritizers.create(config, WORK)) == 3
    assert met(wrapped(config)) == 8


def test_the_late_come_last_and_keep_their_own_order() -> None:
    edf = wrapped(EdfRequestPrioritizerConfig())
    requests = [sequence(1, 10, 5.0), sequence(2, 10, 2.0), sequence(3, 10, 100.0), sequence(4, 10, 50.0)]
    assert [r.seq_id for r in sorted(requests, key=lambda r: edf.key(r, 0.0))] == [4, 3, 2, 1]
    assert [edf.is_late(r, 0.0) for r in requests] == [True, True, False, False]


def test_a_prefill_that_is_done_or_has_no_deadline_is_never_late() -> None:
    fcfs = wrapped(FcfsRequestPrioritizerConfig())
    assert not fcfs.is_late(sequence(1, 10, None), 1e9)
    done = sequence(2, 10, 1.0)
    done.processed = 10
    assert not fcfs.is_late(done, 1e9)
    assert fcfs.is_late(sequence(3, 10, 9.0), 0.0), "a client's own target counts with any order"


def test_a_tenth_of_its_time_is_left_for_others_in_its_batches() -> None:
    edf = wrapped(EdfRequestPrioritizerConfig())
    assert not edf.is_late(sequence(1, 9, 10.0), 0.0)
    assert edf.is_late(sequence(1, 9, 9.9), 0.0)

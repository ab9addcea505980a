"""What the benches of fairness and relegation reckon from what they see."""

from __future__ import annotations

import pytest
from bench.fairness import always_waiting, largest_difference
from bench.overload import steady_rate
from bench.relegation import Outcome
from hypothesis import given
from hypothesis import strategies as st

SERVICE = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12)


@given(SERVICE)
def test_the_largest_difference_is_that_of_the_worst_interval(steps: list[tuple[int, int]]) -> None:
    a, b = ([sum(step[which] for step in steps[:i]) for i in range(len(steps) + 1)] for which in (0, 1))
    intervals = [(i, j) for j in range(len(a)) for i in range(j + 1)]
    assert largest_difference(a, b) == max(abs((a[j] - a[i]) - (b[j] - b[i])) for i, j in intervals)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=8), st.integers(1, 25))
def test_a_tenant_waits_always_from_the_last_second_in_which_nothing_of_it_did(
    waits: list[tuple[int, int]], end: int
) -> None:
    queued = [(float(came), float(came + seconds)) for came, seconds in waits]
    begin = always_waiting(queued, end)
    waiting = [any(came <= second < went for came, went in queued) for second in range(end)]
    assert all(waiting[begin:])
    assert begin == 0 or not waiting[begin - 1]


def test_a_steady_rate_leaves_out_how_batches_fill_and_empty() -> None:
    ends = [0.0, *(10.0 + 0.5 * i for i in range(8)), 100.0]
    assert steady_rate(ends) == pytest.approx(2.0)


def test_an_outcome_counts_deadlines_and_tells_how_late_the_others_were() -> None:
    outcome = Outcome.of("EDF", 1.5, 0, {"chats": [0.5, 0.0, -1.0, -3.0], "documents": [2.0]}, makespan=9.0)
    assert outcome.met == pytest.approx(3 / 5)
    assert outcome.met_by_kind == {"chats": 0.5, "documents": 1.0}
    assert (outcome.late_p50, outcome.late_max) == (2.0, 3.0)

"""EDF and LRS: whose first token is due, and who has least to spare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scheduling.formula import Formula, Work

from vajra.config import EdfRequestPrioritizerConfig, FcfsRequestPrioritizerConfig, LrsRequestPrioritizerConfig
from vajra.scheduling import (
    EdfPrioritizer,
    FcfsPrioritizer,
    LrsPrioritizer,
    Prioritizer,
    QueuedRequest,
    Sequence,
    prioritizers,
)

FORMULA = Formula()
LRS = LrsPrioritizer(LrsRequestPrioritizerConfig(), FORMULA)
EDF = EdfPrioritizer(EdfRequestPrioritizerConfig(), FORMULA)


def sequence(prompt: int, *, arrival: float = 0.0, target: float | None = None, processed: int = 0) -> Sequence:
    seq = Sequence(1, prompt, prompt, 8, arrival=arrival, ttft_target=target)
    seq.processed = processed
    return seq


def test_medhas_case_with_the_clients_own_deadlines() -> None:
    """Medha 4.1: a long request of 10 s of work due at 16 has run since 0 when two of 0.5 s, due in 1 s, come at 5."""
    lrs = LrsPrioritizer(LrsRequestPrioritizerConfig(), HalfSeconds())
    long = sequence(20, target=16.0, processed=10)
    short = sequence(1, arrival=5.0, target=6.0)
    assert lrs.key(long, 5.0) == pytest.approx((16 - 5 - 5) / 16) == 0.375
    assert lrs.key(short, 5.0) == pytest.approx((6 - 5 - 0.5) / 1) == 0.5


class HalfSeconds(Work):
    """A token is half a second of work."""

    def prefill_time(self, num_tokens: int) -> float:
        return super().prefill_time(num_tokens) / 2

    def remaining(self, num_tokens: int, processed: int) -> float:
        return super().remaining(num_tokens, processed) / 2


@pytest.mark.parametrize("prompt", [1, 100, 10_000])
def test_a_deadline_is_a_multiple_of_the_work_but_not_less_than_the_least(prompt: int) -> None:
    interval = max(1.5 * FORMULA.prefill_time(prompt), 0.5)
    seq = sequence(prompt, arrival=7.0)
    assert EDF.deadline(seq) == LRS.deadline(seq) == pytest.approx(7.0 + interval)
    assert EDF.key(seq, 0.0) == EDF.key(seq, 100.0) == EDF.deadline(seq)
    assert LRS.key(seq, 7.0) == pytest.approx(1 - FORMULA.prefill_time(prompt) / interval)


def test_a_clients_target_is_the_deadline_and_fcfs_does_not_look_at_it() -> None:
    seq = sequence(10_000, arrival=1.0, target=1.25)
    assert EDF.deadline(seq) == LRS.deadline(seq) == 1.25
    assert FcfsPrioritizer(FcfsRequestPrioritizerConfig()).key(seq, 9.0) == 1.0


@given(prompt=st.integers(2, 100_000), part=st.floats(0, 1), wait=st.floats(0, 1000))
def test_slack_falls_while_a_request_waits_and_stays_while_it_runs_alone(prompt: int, part: float, wait: float) -> None:
    seq = sequence(prompt)
    interval = LRS.interval(seq)
    before = LRS.key(seq, 0.0)
    assert LRS.key(seq, wait) == pytest.approx(before - wait / interval, abs=1e-9)
    done = int(part * prompt)
    spent = FORMULA.remaining(prompt, 0) - FORMULA.remaining(prompt, done)
    assert LRS.key(sequence(prompt, processed=done), spent) == pytest.approx(before, abs=1e-9)


@given(target=st.floats(-10, 10), prompt=st.integers(1, 1000))
def test_a_target_that_has_passed_is_no_division_by_zero(target: float, prompt: int) -> None:
    assert LRS.key(sequence(prompt, target=target), 0.0) < 1.0


def test_what_was_generated_before_a_resume_is_work_but_does_not_move_the_deadline() -> None:
    fresh, resumed = sequence(1000), Sequence(2, 5000, 1000, 8000, arrival=0.0)
    assert LRS.deadline(fresh) == LRS.deadline(resumed)
    assert LRS.key(resumed, 0.0) < LRS.key(fresh, 0.0)


@pytest.mark.parametrize("prioritizer", [EDF, LRS])
def test_a_request_has_one_key_in_the_queue_and_in_a_replica(prioritizer: Prioritizer) -> None:
    queued = QueuedRequest("a", num_tokens=700, num_prompt_tokens=700, arrival=3.0)
    assert prioritizer.key(queued, 4.0) == prioritizer.key(sequence(700, arrival=3.0), 4.0)


@pytest.mark.parametrize("config", [EdfRequestPrioritizerConfig(), LrsRequestPrioritizerConfig()])
def test_deadlines_need_predictions(config: object) -> None:
    with pytest.raises(TypeError, match="needs predicted prefill times"):
        prioritizers.create(config)

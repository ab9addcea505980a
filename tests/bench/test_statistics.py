"""Medians, ratios and tables of a comparison; gaps and latencies of the other benches."""

from __future__ import annotations

import math

import pytest
from bench.mixed import Trial, overlapping, summary
from bench.report import markdown, number, rows
from bench.results import Sample
from bench.roofline import Rates, Storage
from bench.stats import Spread, advantage, best, round_ratios
from bench.step_gap import Step, gaps
from bench.workloads import DECODE, MODELS, SMOLLM2, TTFT, WORKLOADS, offline_figures
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9)


@given(VALUES)
def test_a_median_lies_in_its_spread(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.minimum <= spread.median <= spread.maximum
    assert spread.count == len(values)
    assert sum(v <= spread.median for v in values) * 2 >= len(values)


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_an_advantage_above_one_is_being_better(ours: float, theirs: float) -> None:
    assert (advantage(ours, theirs, more_is_better=True) > 1) == (ours / theirs > 1)
    assert math.isclose(
        advantage(ours, theirs, more_is_better=True) * advantage(ours, theirs, more_is_better=False), 1.0
    )


def test_ratios_are_taken_within_rounds() -> None:
    # The machine slows down by half between rounds: what drifts falls out.
    assert round_ratios({0: 100.0, 1: 50.0}, {0: 80.0, 1: 40.0, 2: 70.0}, more_is_better=True) == [1.25, 1.25]
    assert round_ratios({0: 5.0}, {0: 10.0}, more_is_better=False) == [2.0]


def test_the_best_is_by_median() -> None:
    spreads = {"a": Spread.of([1, 9, 10]), "b": Spread.of([5, 6, 30])}
    assert best(spreads, more_is_better=True) == "a"
    assert best(spreads, more_is_better=False) == "b"


def test_offline_figures() -> None:
    figures = offline_figures(WORKLOADS["W1"], first=0.1, whole=1.37)
    assert figures == pytest.approx({DECODE.name: 100.0, TTFT.name: 100.0})
    assert offline_figures(WORKLOADS["W3"], None, 16.384) == pytest.approx({"prefill": 1000.0})


def test_prompts_are_the_same_for_all_and_new_each_round() -> None:
    workload = WORKLOADS["W2"]
    first = workload.prompts(49152, 0)
    assert first == workload.prompts(49152, 0)
    assert first != workload.prompts(49152, 1)
    assert [len(p) for p in first] == [256] * 64
    assert all(0 <= i < 32000 for p in WORKLOADS["W1"].prompts(32000, 0) for i in p)


def _sample(engine: str, number: int, decode: float, first: float) -> Sample:
    return Sample(SMOLLM2, "W1", engine, number, {DECODE.name: decode, TTFT.name: first})


SAMPLES = [
    _sample("vajra", 0, 110, 90),
    _sample("slow", 0, 50, 60),
    _sample("fast", 0, 100, 99),
    _sample("vajra", 1, 60, 95),
    _sample("slow", 1, 55, 70),
    _sample("fast", 1, 40, 100),
    _sample("vajra", 2, 120, 100),
    _sample("slow", 2, 56, 80),
    _sample("fast", 2, 100, 101),
]


def _table() -> list[str]:
    table = rows(
        SAMPLES,
        {"W1": WORKLOADS["W1"]},
        {SMOLLM2: MODELS[SMOLLM2]},
        {SMOLLM2: Rates(bandwidth=40e9, flops=400e9)},
        {"vajra": Storage(), "slow": Storage(), "fast": Storage()},
        ["vajra"],
    )
    decode, first = table
    assert decode.best_peer == "fast"
    assert first.best_peer == "slow"
    # Rounds: 1.1, 1.5, 1.2; and 60/90, 70/95, 80/100.
    ratios = decode.ratios["vajra"]
    assert (ratios.minimum, ratios.median, ratios.maximum) == pytest.approx((1.1, 1.2, 1.5))
    assert first.ratios["vajra"].median == pytest.approx(70 / 95)
    part = decode.cells["vajra"].roofline
    assert part is not None
    assert part == pytest.approx(110 / (127 / (sum(268_959_744 + (128 + i) * 23_040 for i in range(1, 128)) / 40e9)))
    return markdown(table).splitlines()


def test_rows_and_their_table() -> None:
    lines = _table()
    assert lines[0] == f"### {SMOLLM2}"
    assert lines[2] == "| workload | figure | vajra | slow | fast | ahead of the best peer |"
    assert lines[4].startswith("| W1 1 × (128 + 128) | decode, tok/s | 110 (60.0–120), 75 % | 55.0 (50.0–56.0)")
    assert lines[4].endswith("| 1.20 (1.10–1.50) × fast |")
    assert {line.count("|") for line in lines[2:6]} == {7}


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1234"), (99.96, "100.0"), (12.34, "12.3"), (1.234, "1.23")])
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_gaps_between_full_steps() -> None:
    steps = [
        Step(0.0, 0.1, 64),
        Step(0.12, 0.1, 64),  # 0.02 idle
        Step(0.30, 0.1, 63),  # not full, nor is the pair after it
        Step(0.50, 0.1, 64),
        Step(0.64, 0.1, 64),  # 0.04 idle
    ]
    found = gaps(steps, 64)
    assert found is not None
    assert found.steps == 2
    assert found.step_p50 == pytest.approx(0.1)
    assert found.share == pytest.approx(0.06 / 0.26)
    assert gaps(steps, 8) is None


def test_overlapping_gaps_are_those_that_share_time_with_the_window() -> None:
    arrivals = [0.0, 1.0, 2.0, 3.5, 4.0, 5.0]
    assert overlapping(arrivals, 1.5, 3.6) == [1.0, 1.5, 0.5]
    assert overlapping(arrivals, 6.0, 7.0) == []


def test_a_mixed_load_is_summed_up_over_its_trials() -> None:
    found = summary([Trial(2.0, [0.01, 0.03], [0.005]), Trial(4.0, [0.02, 0.1], [0.007])])
    assert found.itl_max == pytest.approx(100.0)
    assert found.itl_p50 == pytest.approx(25.0)
    assert found.alone_p50 == pytest.approx(6.0)
    assert found.ttft == Spread(3000.0, 2000.0, 4000.0, 2)

"""A sketch's quantiles are within its accuracy of the exact ones, whatever the values."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.metrics.sketch import Sketch

values = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), min_size=1, max_size=300)


def sketch_of(data: list[float], accuracy: float = 0.001) -> Sketch:
    sketch = Sketch(accuracy)
    for value in data:
        sketch.add(value)
    return sketch


@given(values, st.floats(0, 1), st.sampled_from([0.001, 0.05]))
def test_quantiles(data: list[float], q: float, accuracy: float) -> None:
    exact = sorted(data)[max(1, math.ceil(q * len(data))) - 1]
    assert sketch_of(data, accuracy).quantile(q) == pytest.approx(exact, rel=accuracy * (1 + 1e-9))


@given(values)
def test_sums_and_bounds_are_exact(data: list[float]) -> None:
    sketch = sketch_of(data)
    assert (sketch.count, sketch.minimum, sketch.maximum) == (len(data), min(data), max(data))
    assert sketch.total == pytest.approx(sum(data))
    assert sketch.quantiles([0.1, 0.5, 0.9]) == [sketch.quantile(q) for q in (0.1, 0.5, 0.9)]


@given(values, values)
def test_a_merge_is_as_if_all_had_been_added_to_one(one: list[float], other: list[float]) -> None:
    merged, both = sketch_of(one), sketch_of(one + other)
    merged.merge(sketch_of(other))
    assert merged.quantiles([0.25, 0.5, 1.0]) == both.quantiles([0.25, 0.5, 1.0])
    assert (merged.count, merged.minimum, merged.maximum) == (both.count, both.minimum, both.maximum)


def test_shares_within_a_limit() -> None:
    sketch = Sketch()
    for value in range(100):
        sketch.add(value, 10)
    assert sketch.count == 1000
    assert sketch.share_within(49.4) == 0.5
    assert sketch.share_within(1000) == 1.0
    assert math.isnan(Sketch().share_within(1.0))


def test_memory_is_bounded_by_the_range_of_the_values() -> None:
    sketch = Sketch()
    for i in range(100_000):
        sketch.add(1e-3 * 1.0003 ** (i % 20_000))
    assert sketch.count == 100_000
    assert len(sketch._buckets) <= math.ceil(20_000 * math.log(1.0003) / math.log(1.001 / 0.999)) + 1


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_what_is_no_latency_is_refused(value: float) -> None:
    sketch = sketch_of([1.0, value])
    with pytest.raises(ValueError, match="values of 0 and more"):
        sketch.quantile(0.5)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300))
def test_a_histogram_counts_each_value_in_its_bin(data: list[int]) -> None:
    bins = sketch_of([float(v) for v in data]).histogram()
    assert sum(b.number for b in bins) == len(data)
    assert bins[0].low == min(data)
    assert bins[-1].high == pytest.approx(max(data))
    assert len(bins) == (1 if min(data) == max(data) else 25)
    assert all(b.high == pytest.approx(c.low) for b, c in pairwise(bins))
    for b in bins:  # to the sketch's accuracy, by which a value may be in the bin beside it
        surely = sum(b.low * 1.001 <= v < b.high * 0.999 for v in data)
        perhaps = sum(b.low * 0.999 <= v <= b.high * 1.001 for v in data)
        assert surely <= b.number <= perhaps


def test_nothing_has_no_histogram() -> None:
    assert Sketch().histogram() == []

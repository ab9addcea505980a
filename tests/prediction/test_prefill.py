"""PrefillTable: what prompts take alone, from a walk through the longest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.prediction.profiles import profile

from vajra.prediction import FittedPredictor, PrefillTable

PREDICTOR = FittedPredictor(profile())


def walked(length: int, chunk_at: Callable[[int], int]) -> float:
    """One prompt, chunk by chunk."""
    total, p = 0.0, 0
    while p < length:
        n = min(chunk_at(p), length - p)
        total += PREDICTOR.batch().with_chunk(n, p, p + n == length)
        p += n
    return total


def shrinking(p: int) -> int:
    """As dynamic chunks do."""
    return max(32, 512 - p // 64 * 32)


@pytest.mark.parametrize("chunk_at", [lambda p: 128, lambda p: 100, shrinking])
def test_entries_are_what_a_walk_through_the_prompt_takes(chunk_at: Callable[[int], int]) -> None:
    table = PrefillTable.build(PREDICTOR, chunk_at, 4096, stride=64)
    for length in (64, 128, 640, 1024, 4096):
        assert table.prefill_time(length) == pytest.approx(walked(length, chunk_at))


TABLE = PrefillTable.build(PREDICTOR, shrinking, 8192)


@given(st.integers(1, 20_000), st.integers(0, 20_000))
def test_what_remains_falls_and_is_above_0_while_tokens_are_left(length: int, processed: int) -> None:
    left = TABLE.remaining(length, processed)
    assert (left > 0) == (processed < length)
    assert left >= TABLE.remaining(length, processed + 1)
    assert left <= TABLE.prefill_time(length) * (1 + 1e-12)
    assert TABLE.prefill_time(length) <= TABLE.prefill_time(length + 1)
    assert TABLE.remaining(length, 0) == TABLE.prefill_time(length)


def test_the_longest_prompt_may_be_of_any_length() -> None:
    longest = 100
    table = PrefillTable.build(PREDICTOR, lambda p: min(32, longest - p), longest, stride=64)
    assert table.prefill_time(longest) >= walked(longest - 36, lambda p: 32)


def test_it_travels_as_plain_data() -> None:
    again = PrefillTable(list(TABLE.seconds), TABLE.stride)
    assert again.prefill_time(5000) == TABLE.prefill_time(5000)
    assert again.remaining(5000, 1234) == TABLE.remaining(5000, 1234)


def test_scale_and_pipeline_depth() -> None:
    again = PrefillTable(TABLE.seconds, TABLE.stride, scale=2.0)
    assert again.remaining(900, 100) == pytest.approx(2 * TABLE.remaining(900, 100))
    spp = PrefillTable.build(PREDICTOR, shrinking, 8192, stages_overlap=4)
    assert spp.prefill_time(900) == pytest.approx(TABLE.prefill_time(900) / 4)


def test_bad_tables_and_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        PrefillTable.build(PREDICTOR, lambda p: 0, 100)
    with pytest.raises(ValueError, match="never fall"):
        PrefillTable([1.0, 0.5])
    with pytest.raises(ValueError, match="two entries"):
        PrefillTable([1.0])
    with pytest.raises(ValueError, match="stride"):
        PrefillTable([1.0, 2.0], 0)

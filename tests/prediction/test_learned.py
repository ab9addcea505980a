"""What can be learned from an engine's own steps."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.prediction.learned import LearnedBatch, LearnedPredictor


def shape(batch: LearnedBatch, draw: random.Random) -> LearnedBatch:
    """Some decodes and some prefill chunks."""
    if decodes := draw.randrange(0, 40):
        batch.add_decodes(decodes, decodes * draw.randrange(1, 3000))
    for _ in range(draw.randrange(0, 3)):
        batch.add_chunk(draw.randrange(1, 500), draw.randrange(0, 6000), draw.random() < 0.3)
    return batch


def truth(batch: LearnedBatch, *, slow: float = 1.0) -> float:
    return slow * (4e-3 + 3e-4 * batch.tokens + 1e-3 * batch.rows + 4e-8 * batch.pairs)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_linear_engine_is_learned_from_its_steps(noise: float) -> None:
    predictor, draw = LearnedPredictor(), random.Random(1)
    for _ in range(400):
        batch = shape(predictor.batch(), draw)
        batch.observe(truth(batch) * (1 + draw.uniform(-noise, noise)))
    for _ in range(100):
        batch = shape(predictor.batch(), draw)
        if batch.tokens:
            assert batch.seconds == pytest.approx(truth(batch), rel=0.02 + noise)


def test_two_steps_of_a_warm_up_are_enough_for_the_order_of_magnitude() -> None:
    predictor = LearnedPredictor()
    for count in (2, 1):
        batch = predictor.batch()
        batch.add_chunk(count, 0, True)
        batch.observe(truth(batch))
    chunk = predictor.batch()
    chunk.add_chunk(256, 0, False)
    assert truth(chunk) / 5 < chunk.seconds < truth(chunk) * 5


def test_a_machine_that_becomes_slower_is_followed() -> None:
    predictor, draw = LearnedPredictor(), random.Random(2)
    for slow, steps in ((1.0, 500), (2.0, 1500)):
        for _ in range(steps):
            batch = shape(predictor.batch(), draw)
            batch.observe(truth(batch, slow=slow))
    batch = shape(predictor.batch(), draw)
    assert batch.seconds == pytest.approx(truth(batch, slow=2.0), rel=0.15)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 500), st.integers(0, 9000), st.floats(1e-6, 100.0)), max_size=30
    ),
    query=st.integers(1, 4000),
    context=st.integers(0, 100_000),
)
def test_predictions_never_fall_as_a_batch_grows_whatever_was_seen(
    steps: list[tuple[int, int, int, float]], query: int, context: int
) -> None:
    predictor = LearnedPredictor()
    for decodes, chunk, behind, seconds in steps:
        batch = predictor.batch()
        batch.add_decodes(decodes, decodes * behind)
        if chunk:
            batch.add_chunk(chunk, behind, False)
        batch.observe(seconds)
    batch = predictor.batch()
    assert batch.seconds == 0.0
    one = batch.with_chunk(query, context, False)
    assert 0.0 <= one <= batch.with_chunk(query + 1, context, False) <= batch.with_chunk(query + 1, context + 7, True)
    batch.add_chunk(query, context, False)
    assert batch.seconds == one
    batch.add_decodes(1, 5)
    assert batch.seconds >= one

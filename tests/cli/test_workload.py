"""Workloads are what they say they are, and the same for the same seed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.cli.benchmark.workload import Workload, poisson_arrivals
from vajra.simulator.lengths import Lengths


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("128", 128, 128),
        ("fixed:7", 7, 7),
        ("uniform:3:9", 3, 9),
        ("zipf:1.1:10:50", 10, 50),
        ("lognormal:100:0.5:20:300", 20, 300),
        ("lognormal:100:0.5", 1, 1 << 20),
    ],
)
def test_lengths_stay_within_their_bounds(text: str, low: int, high: int) -> None:
    sample = Lengths.parse(text).sample(generator(), 2000)
    assert sample.shape == (2000,)
    assert low <= sample.min()
    assert sample.max() <= high


def test_length_distributions_have_their_shape() -> None:
    uniform = Lengths.parse("uniform:1:100").sample(generator(), 20000)
    assert abs(uniform.mean() - 50.5) < 1
    assert set(uniform) == set(range(1, 101))
    lognormal = Lengths.parse("lognormal:200:0.6").sample(generator(), 20000)
    assert abs(np.median(lognormal) - 200) < 6
    zipf = np.bincount(Lengths.parse("zipf:1:1:4").sample(generator(), 50000), minlength=5)[1:] / 50000
    assert np.allclose(zipf, np.array([1, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12), atol=0.01)


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "1.5", "uniform:9:3", "uniform:9", "zipf:-1:1:2", "lognormal:0:1", "gauss:1:2", "fixed:x"]
)
def test_a_wrong_distribution_is_quoted_in_its_error(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Lengths.parse(text)


def test_poisson_arrivals_come_at_their_rate() -> None:
    times = np.array(poisson_arrivals(8.0, 20000, generator()))
    gaps = np.diff(times)
    assert times[0] == 0
    assert (gaps >= 0).all()
    assert abs(gaps.mean() - 1 / 8) < 0.005
    assert abs(gaps.std() - 1 / 8) < 0.005  # exponential: deviation equals mean


@given(seed=st.integers(0, 2**32), count=st.integers(0, 20), text=st.booleans())
def test_one_seed_gives_one_workload(seed: int, count: int, text: bool) -> None:
    def make(rate: float | None = 2.0) -> Workload:
        lengths = Lengths.parse("uniform:1:30")
        return Workload(
            num_requests=count, prompt_lengths=lengths, output_lengths=lengths, rate=rate, seed=seed, text=text
        )

    requests = make().requests()
    assert requests == make().requests()
    assert len(requests) == count
    for request in requests:
        size = len(request.prompt.split() if isinstance(request.prompt, str) else request.prompt)
        assert size == request.prompt_tokens
    # Arrivals have a random stream of their own: without them the rest is the same.
    closed = make(rate=None).requests()
    assert [(r.prompt, r.max_tokens) for r in closed] == [(r.prompt, r.max_tokens) for r in requests]
    assert all(r.arrival is None for r in closed)


def test_ids_are_drawn_from_the_vocabulary_given() -> None:
    lengths = Lengths.parse("500")
    workload = Workload(num_requests=4, prompt_lengths=lengths, output_lengths=lengths, vocabulary=(5, 8))
    assert {i for r in workload.requests() for i in r.prompt} == {5, 6, 7}

"""Recipes make what they say, as streams, and the same for the same seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vajra.simulator import Arrivals, Lengths, SimulationError, SyntheticWorkload


def recipe(**changes: object) -> SyntheticWorkload:
    options: dict[str, object] = {
        "num_requests": 20_000,
        "arrivals": Arrivals.parse("poisson:5"),
        "prompt_lengths": Lengths.parse("uniform:10:100"),
        "output_lengths": Lengths.parse("8"),
    }
    return SyntheticWorkload(**{**options, **changes})  # type: ignore[arg-type]


def gaps(arrivals: str, count: int = 20_000, seed: int = 0) -> np.ndarray:
    times = list(itertools.islice(Arrivals.parse(arrivals).times(np.random.default_rng(seed)), count))
    assert times[0] == 0.0
    assert times == sorted(times)
    return np.diff(times)


@pytest.mark.parametrize(
    ("text", "rate", "variation"),
    [("5", 5, 1), ("poisson:0.5", 0.5, 1), ("gamma:5:0.5", 5, 0.5), ("gamma:5:3", 5, 3), ("fixed:4", 4, 0)],
)
def test_gaps_have_their_mean_and_variation(text: str, rate: float, variation: float) -> None:
    found = gaps(text)
    assert found.mean() == pytest.approx(1 / rate, rel=0.1)
    assert found.std() / found.mean() == pytest.approx(variation, rel=0.1, abs=1e-9)


def test_bursts_have_pauses_between_them_and_the_rate_in_the_long_run() -> None:
    found = gaps("bursty:10:2:6")
    assert found.mean() == pytest.approx(0.1, rel=0.15)
    pauses = found[found > 1.0]
    assert pauses.mean() == pytest.approx(6.0, rel=0.35)  # all but the short ones are seen, and short ones are few
    assert np.median(found) < 0.03  # within a burst four times the rate


def test_another_rate_is_the_same_process_faster() -> None:
    slow, fast = recipe(), recipe().at_rate(50)
    for one, other in zip(slow, fast, strict=True):
        assert one.arrival == pytest.approx(10 * other.arrival)
        assert one[1:] == other[1:]


def test_one_seed_is_one_workload() -> None:
    assert list(recipe()) == list(recipe())
    assert list(recipe()) != list(recipe(seed=1))


def test_long_requests_have_their_share_and_lengths_and_leave_the_others_as_they_were() -> None:
    mixed = list(recipe(long_share=0.05, long_prompt_lengths=Lengths.parse("uniform:1000:2000")))
    long = [request for request in mixed if request.prompt_tokens >= 1000]
    assert len(long) / len(mixed) == pytest.approx(0.05, rel=0.1)
    for one, other in zip(mixed, recipe(), strict=True):
        assert one == other or one.prompt_tokens >= 1000


def test_a_client_allows_at_least_what_is_generated() -> None:
    assert {request.max_tokens for request in recipe(max_tokens=4)} == {8}
    assert {request.max_tokens for request in recipe(max_tokens=40)} == {40}


@pytest.mark.parametrize("text", ["", "poisson", "poisson:0", "gamma:1", "bursty:1:2", "often:3", "poisson:x"])
def test_a_bad_arrival_process_is_told_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed are at-once, fixed:RATE"):
        Arrivals.parse(text)


def test_shares_and_lengths_of_long_requests_go_together() -> None:
    with pytest.raises(SimulationError, match="give both"):
        recipe(long_share=0.1)
    with pytest.raises(SimulationError, match="between 0 and 1"):
        recipe(long_share=2, long_prompt_lengths=Lengths.parse("9"))

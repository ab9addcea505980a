"""Medians, spreads and ratios over rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median with the range that it comes from."""

    median: float
    minimum: float
    maximum: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if not values:
            raise ValueError("there is no median of nothing")
        return cls(statistics.median(values), min(values), max(values), len(values))


def advantage(ours: float, theirs: float, *, more_is_better: bool) -> float:
    """How far ahead: above 1 we are better."""
    return ours / theirs if more_is_better else theirs / ours


def best(figures: Mapping[str, Spread], *, more_is_better: bool) -> str:
    """The name with the best median; the first of equals."""
    choose = max if more_is_better else min
    return choose(figures, key=lambda name: figures[name].median)


def round_ratios(ours: Mapping[int, float], theirs: Mapping[int, float], *, more_is_better: bool) -> list[float]:
    """Advantages within each round that both have, in order of rounds: what drifts between rounds falls out."""
    return [
        advantage(ours[number], theirs[number], more_is_better=more_is_better)
        for number in sorted(ours.keys() & theirs.keys())
    ]

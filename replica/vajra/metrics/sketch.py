"""Quantiles of any number of values in bounded memory, with a bounded relative error (a DDSketch)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_ZERO = 1e-18  # what is not above it counts as 0
_PENDING = 1024  # different values noted before they are put into buckets


class Bin(NamedTuple):
    """How many values are from `low` to below `high`; in the last bin up to it."""

    low: float
    high: float
    number: int


class Sketch:
    """Counts values in buckets whose bounds grow by a constant factor, so that a quantile is right to `accuracy` of
    itself. Values are 0 or more."""

    __slots__ = ("_buckets", "_count", "_log_base", "_maximum", "_minimum", "_pending", "_total", "_zeros", "accuracy")

    def __init__(self, accuracy: float = 0.001) -> None:
        if not 0 < accuracy < 1:
            raise ValueError(f"accuracy is {accuracy}; it must be between 0 and 1")
        self.accuracy = accuracy
        self._log_base = math.log((1 + accuracy) / (1 - accuracy))
        self._pending: dict[float, int] = {}
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._count = 0
        self._total = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf

    def add(self, value: float, count: int = 1) -> None:
        """Adds `value`, `count` times. What is below 0 or no number is a ValueError, then or later."""
        pending = self._pending  # many values come again and again: sizes of batches, gaps of zero
        pending[value] = pending.get(value, 0) + count
        if len(pending) > _PENDING:
            self._settle()

    def merge(self, other: Sketch) -> None:
        """Adds all that `other` holds; both have the same accuracy."""
        if other.accuracy != self.accuracy:
            raise ValueError(f"sketches of accuracies {self.accuracy} and {other.accuracy} do not merge")
        self._settle()
        other._settle()
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._zeros += other._zeros
        self._count += other._count
        self._total += other._total
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)

    @property
    def count(self) -> int:
        """How many values."""
        self._settle()
        return self._count

    @property
    def total(self) -> float:
        """Their sum."""
        self._settle()
        return self._total

    @property
    def mean(self) -> float:
        """NaN when empty."""
        return self.total / self._count if self.count else math.nan

    @property
    def minimum(self) -> float:
        """Infinity when empty."""
        self._settle()
        return self._minimum

    @property
    def maximum(self) -> float:
        """Minus infinity when empty."""
        self._settle()
        return self._maximum

    def quantile(self, q: float) -> float:
        """The value that a share `q` (0 to 1) is at or below; NaN when empty."""
        return self.quantiles([q])[0]

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """As `quantile`, of several in one pass; `shares` ascend."""
        if not self.count:
            return [math.nan for _ in shares]
        found: list[float] = []
        steps = self._steps()
        value, below = next(steps)
        for share in shares:
            rank = max(1, math.ceil(share * self._count))
            while below < rank:
                value, below = next(steps)
            found.append(min(max(value, self._minimum), self._maximum))
        return found

    def share_within(self, limit: float) -> float:
        """The share of values at or below `limit`; NaN when empty."""
        if not self.count:
            return math.nan
        within = 0
        for value, below in self._steps():
            if value > limit * (1 + self.accuracy):
                break
            within = below
        return within / self._count

    def histogram(self, bins: int = 25) -> list[Bin]:
        """Bins of one width from the least value to the largest, each value right to `accuracy`; one where all are
        equal, none when empty."""
        if not self.count:
            return []
        low, width = self._minimum, (self._maximum - self._minimum) / bins
        if not width > 0:
            return [Bin(low, low, self._count)]
        counts, before = [0] * bins, 0
        for value, below in self._steps():
            counts[min(bins - 1, max(0, int((value - low) / width)))] += below - before
            before = below
        return [Bin(low + i * width, low + (i + 1) * width, count) for i, count in enumerate(counts)]

    def _steps(self) -> Iterator[tuple[float, int]]:
        """Ascending: a value, and how many there are up to its bucket's end."""
        below = self._zeros
        yield 0.0, below
        middle = 2 / (1 + math.exp(self._log_base))  # of a bucket, so that its ends are equally far, relatively
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            yield math.exp(bucket * self._log_base) * middle, below

    def _settle(self) -> None:
        """Puts what is pending into buckets."""
        pending, self._pending = self._pending, {}
        if not pending:
            return
        if not min(pending) >= 0 or any(map(math.isnan, pending)):
            raise ValueError(f"a sketch holds values of 0 and more, not {min(pending)}")
        buckets, log_base = self._buckets, self._log_base
        for value, count in pending.items():
            if value > _ZERO:
                bucket = math.ceil(math.log(value) / log_base)
                buckets[bucket] = buckets.get(bucket, 0) + count
            else:
                self._zeros += count
            self._count += count
            self._total += value * count
        self._minimum = min(self._minimum, min(pending))
        self._maximum = max(self._maximum, max(pending))

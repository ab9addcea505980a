"""Quantiles of any number of values in bounded memory, with a bounded relative error (a DDSketch)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

_ZERO = 1e-18  # what is not above it counts as 0


class Sketch:
    """Counts values in buckets whose bounds grow by a constant factor, so that a quantile is right to `accuracy` of
    itself. Values are 0 or more."""

    __slots__ = ("_buckets", "_log_base", "_zeros", "accuracy", "count", "maximum", "minimum", "total")

    def __init__(self, accuracy: float = 0.001) -> None:
        if not 0 < accuracy < 1:
            raise ValueError(f"accuracy is {accuracy}; it must be between 0 and 1")
        self.accuracy = accuracy
        self._log_base = math.log((1 + accuracy) / (1 - accuracy))
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, value: float, count: int = 1) -> None:
        """Adds `value`, `count` times. Raises ValueError for what is below 0 or no number."""
        if value > _ZERO:
            bucket = math.ceil(math.log(value) / self._log_base)
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        elif value >= 0:
            self._zeros += count
        else:
            raise ValueError(f"a sketch holds values of 0 and more, not {value}")
        self.count += count
        self.total += value * count
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def merge(self, other: Sketch) -> None:
        """Adds all that `other` holds; both have the same accuracy."""
        if other.accuracy != self.accuracy:
            raise ValueError(f"sketches of accuracies {self.accuracy} and {other.accuracy} do not merge")
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self._zeros += other._zeros
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    @property
    def mean(self) -> float:
        """NaN when empty."""
        return self.total / self.count if self.count else math.nan

    def quantile(self, q: float) -> float:
        """The value of which a share `q` (0 to 1) is at or below; NaN when empty."""
        return next(iter(self.quantiles([q])))

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """As `quantile`, of several in one pass; `shares` ascend."""
        found: list[float] = []
        if not self.count:
            return [math.nan for _ in shares]
        steps = self._steps()
        value, below = next(steps)
        for share in shares:
            rank = max(1, math.ceil(share * self.count))
            while below < rank:
                value, below = next(steps)
            found.append(min(max(value, self.minimum), self.maximum))
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
        return within / self.count

    def _steps(self) -> Iterator[tuple[float, int]]:
        """Ascending: a value, and how many there are up to its bucket's end."""
        below = self._zeros
        yield 0.0, below
        middle = 2 / (1 + math.exp(self._log_base))  # of a bucket, so that its ends are equally far, relatively
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            yield math.exp(bucket * self._log_base) * middle, below


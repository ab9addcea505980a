"""Distributions of token counts, which the benchmark and the simulator share. Pure: one seed gives one sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lengths:
    """A distribution of token counts; `parse` reads its text form."""

    kind: str  # fixed, uniform, zipf or lognormal
    minimum: int
    maximum: int
    first: float = 0.0  # zipf: the exponent; lognormal: the median
    second: float = 0.0  # lognormal: sigma of the logarithm

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """Reads `N`, `fixed:N`, `uniform:MIN:MAX`, `zipf:THETA:MIN:MAX` or `lognormal:MEDIAN:SIGMA[:MIN:MAX]`.

        Raises:
            ValueError: with the forms that are allowed.
        """
        kind, *arguments = text.split(":") if ":" in text else ("fixed", text)
        try:
            numbers = [float(a) for a in arguments]
            match kind, numbers:
                case "fixed", [n]:
                    return cls("fixed", _count(n), _count(n))
                case "uniform", [low, high]:
                    return cls("uniform", _count(low), _count(high))._checked()
                case "zipf", [theta, low, high] if theta >= 0:
                    return cls("zipf", _count(low), _count(high), theta)._checked()
                case "lognormal", [median, sigma] if median > 0 and sigma >= 0:
                    return cls("lognormal", 1, 1 << 20, median, sigma)
                case "lognormal", [median, sigma, low, high] if median > 0 and sigma >= 0:
                    return cls("lognormal", _count(low), _count(high), median, sigma)._checked()
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
        raise ValueError(
            f"{text!r} is not a length distribution; allowed are N, fixed:N, uniform:MIN:MAX, "
            "zipf:THETA:MIN:MAX (THETA >= 0) and lognormal:MEDIAN:SIGMA[:MIN:MAX]"
        )

    def _checked(self) -> Lengths:
        if self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is above the maximum {self.maximum}")
        return self

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        """`count` lengths, int64 in [minimum, maximum]."""
        match self.kind:
            case "fixed":
                return np.full(count, self.minimum, dtype=np.int64)
            case "uniform":
                return generator.integers(self.minimum, self.maximum, size=count, endpoint=True)
            case "zipf":  # P(length) is proportional to its rank from the minimum, to the power of -theta
                ranks = np.arange(1, self.maximum - self.minimum + 2, dtype=np.float64)
                cumulative = np.cumsum(ranks**-self.first)
                draws = generator.random(count) * cumulative[-1]
                steps: NDArray[np.int64] = np.searchsorted(cumulative, draws, side="right").astype(np.int64)
                return steps + self.minimum
            case _:
                values = generator.lognormal(math.log(self.first), self.second, size=count)
                return np.clip(np.rint(values), self.minimum, self.maximum).astype(np.int64)


def _count(value: float) -> int:
    if not (value.is_integer() and 1 <= value <= 1 << 20):
        raise ValueError("lengths are whole numbers from 1 to 1048576")
    return int(value)

"""When requests arrive: endless streams of times, from a text form. Pure: one seed gives one stream."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 4096  # draws at a time
_FORMS = "at-once, fixed:RATE, poisson:RATE, gamma:RATE:CV and bursty:RATE:ON:OFF"


@dataclass(frozen=True)
class Arrivals:
    """An arrival process; `parse` reads its text form. The same seed at another rate gives the same requests, nearer or
    farther apart."""

    kind: str  # at-once, fixed, poisson, gamma or bursty
    rate: float = 0.0  # requests per second, in the long run
    variation: float = 1.0  # gamma: standard deviation of a gap over its mean
    on: float = 0.0  # bursty: mean seconds in which requests arrive
    off: float = 0.0  # bursty: mean seconds in which none do

    @classmethod
    def parse(cls, text: str) -> Arrivals:
        """Reads `at-once`, `fixed:RATE`, `poisson:RATE` (or the rate alone), `gamma:RATE:CV` or `bursty:RATE:ON:OFF`.

        Raises:
            ValueError: with the forms that are allowed.
        """
        kind, *arguments = text.split(":") if ":" in text or text == "at-once" else ("poisson", text)
        try:
            numbers = [float(a) for a in arguments]
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}; allowed are {_FORMS}") from None
        if all(0 < number < 1e12 for number in numbers):
            match kind, numbers:
                case "at-once", []:
                    return cls(kind)
                case (("fixed" | "poisson"), [rate]):
                    return cls(kind, rate)
                case "gamma", [rate, variation]:
                    return cls(kind, rate, variation)
                case "bursty", [rate, on, off]:
                    return cls(kind, rate, on=on, off=off)
        raise ValueError(f"{text!r} is not an arrival process; allowed are {_FORMS}, with numbers above 0")

    def at_rate(self, rate: float) -> Arrivals:
        """The same process at another rate; all at once it has none and becomes Poisson."""
        return dataclasses.replace(self, kind="poisson" if self.kind == "at-once" else self.kind, rate=rate)

    def times(self, generator: np.random.Generator) -> Iterator[float]:
        """Ascending times in seconds, without end; the first at 0."""
        if self.kind == "at-once":
            return itertools.repeat(0.0)
        gaps = itertools.chain([0.0], self._gaps(generator))
        if self.kind != "bursty":
            return (time / self.rate for time in itertools.accumulate(gaps))
        busy_rate = self.rate * (self.on + self.off) / self.on
        # A phase's length is drawn from a stream of its own, so that it stays the same at another rate.
        return self._with_pauses((t / busy_rate for t in itertools.accumulate(gaps)), generator.spawn(1)[0])

    def _gaps(self, generator: np.random.Generator) -> Iterator[float]:
        """Of mean 1."""
        shape = self.variation**-2
        while True:
            if self.kind == "fixed":
                yield from itertools.repeat(1.0)
            elif self.kind == "gamma":
                yield from generator.gamma(shape, 1 / shape, _BLOCK).tolist()
            else:
                yield from generator.exponential(1.0, _BLOCK).tolist()

    def _with_pauses(self, busy_times: Iterator[float], generator: np.random.Generator) -> Iterator[float]:
        paused = 0.0
        phase_end = generator.exponential(self.on)
        for time in busy_times:
            while time >= phase_end:
                paused += generator.exponential(self.off)
                phase_end += generator.exponential(self.on)
            yield time + paused

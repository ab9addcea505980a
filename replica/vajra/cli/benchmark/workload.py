"""Workloads: which requests a benchmark sends, and when. Pure: one seed gives one workload, on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vajra.simulator.lengths import Lengths

# Common short words, about one token each in every byte-level BPE vocabulary.
_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house "
    "service friend father power hour game line end member law car city community name president team minute idea "
    "kid body information back parent face others level office door health person art war history party result "
    "change morning reason research girl guy moment air teacher force education foot boy age policy music market "
    "sense road river stone"
)
WORDS = _TEXT.split()


@dataclass(frozen=True)
class BenchmarkRequest:
    """One request to send: its prompt, how much to generate, and when."""

    prompt: tuple[int, ...] | str
    prompt_tokens: int  # exact for ids, a guess for text
    max_tokens: int
    arrival: float | None  # seconds after the start; None: as soon as concurrency allows


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A recipe for requests."""

    num_requests: int
    prompt_lengths: Lengths
    output_lengths: Lengths
    rate: float | None = None  # requests per second, Poisson arrivals; None: a closed loop
    seed: int = 0
    text: bool = False  # words instead of token ids
    vocabulary: tuple[int, int] = (1000, 30000)  # ids drawn from [low, high)

    def requests(self) -> list[BenchmarkRequest]:
        """All requests in order of arrival; the same for the same recipe."""
        # One stream for each matter, so that a change of one leaves the others as they were.
        seeds = np.random.SeedSequence(self.seed).spawn(4)
        arrivals, prompts, outputs, content = (np.random.Generator(np.random.PCG64(s)) for s in seeds)
        times = poisson_arrivals(self.rate, self.num_requests, arrivals)
        prompt_lengths = self.prompt_lengths.sample(prompts, self.num_requests)
        output_lengths = self.output_lengths.sample(outputs, self.num_requests)
        return [
            BenchmarkRequest(self._prompt(int(length), content), int(length), int(output), time)
            for length, output, time in zip(prompt_lengths, output_lengths, times, strict=True)
        ]

    def _prompt(self, length: int, generator: np.random.Generator) -> tuple[int, ...] | str:
        if self.text:
            return " ".join(WORDS[i] for i in generator.integers(0, len(WORDS), size=length))
        return tuple(int(i) for i in generator.integers(*self.vocabulary, size=length))


def poisson_arrivals(rate: float | None, count: int, generator: np.random.Generator) -> list[float] | list[None]:
    """Arrival times in seconds of a Poisson process, the first at 0; None for each without a rate."""
    if rate is None:
        return [None] * count
    gaps = generator.exponential(1.0 / rate, size=max(0, count - 1))
    return [0.0, *np.cumsum(gaps).tolist()][:count]

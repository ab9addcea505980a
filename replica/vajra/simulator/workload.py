"""What is simulated: streams of requests, made by a recipe. Pure: one seed gives one workload, on every machine."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from vajra.simulator.arrivals import Arrivals
from vajra.simulator.errors import SimulationError
from vajra.simulator.lengths import Lengths

_BLOCK = 1024  # lengths drawn at a time


class Request(NamedTuple):
    """One request: when it arrives (seconds from the start), what it brings, and when it will have ended."""

    arrival: float
    prompt_tokens: int
    output_tokens: int  # generated; the last of them ends it
    max_tokens: int | None = None  # what its client allows; None: exactly output_tokens, so that its end is no surprise
    ttft_target: float | None = None  # seconds after arrival in which its client wants the first token
    tenant: str | None = None
    tenant_weight: float = 1.0  # its share beside others, above 0


class Workload(Protocol):
    """Requests in order of arrival. Each iteration gives the same stream, and holds a few at a time."""

    def __iter__(self) -> Iterator[Request]: ...

    def __len__(self) -> int:
        """How many requests there are."""

    def at_rate(self, rate: float) -> Workload:
        """The same requests, `rate` of them per second in the long run."""


@dataclass(frozen=True, kw_only=True)
class SyntheticWorkload:
    """A recipe: arrivals, lengths, and a share of long requests with lengths of their own."""

    num_requests: int
    arrivals: Arrivals
    prompt_lengths: Lengths
    output_lengths: Lengths
    long_share: float = 0.0
    long_prompt_lengths: Lengths | None = None
    max_tokens: int | None = None  # what every client allows, where its output is not longer
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_requests < 1:
            raise SimulationError(f"a workload has at least one request, not {self.num_requests}")
        if not 0 <= self.long_share <= 1:
            raise SimulationError(f"the share of long requests is {self.long_share}; it must be between 0 and 1")
        if (self.long_share > 0) != (self.long_prompt_lengths is not None):
            raise SimulationError("a share of long requests and the lengths of their prompts go together: give both")

    def __len__(self) -> int:
        return self.num_requests

    def at_rate(self, rate: float) -> SyntheticWorkload:
        """The same requests at another rate."""
        return dataclasses.replace(self, arrivals=self.arrivals.at_rate(rate))

    def __iter__(self) -> Iterator[Request]:
        # One stream for each matter, so that a change of one leaves the others as they were.
        seeds = np.random.SeedSequence(self.seed).spawn(5)
        arrivals, prompts, outputs, choices, longs = (np.random.Generator(np.random.PCG64(s)) for s in seeds)
        times = self.arrivals.times(arrivals)
        prompt_lengths = _stream(self.prompt_lengths, prompts)
        output_lengths = _stream(self.output_lengths, outputs)
        long_lengths = _stream(self.long_prompt_lengths or self.prompt_lengths, longs)
        is_long = _chances(self.long_share, choices)
        for _ in range(self.num_requests):
            prompt, output = next(prompt_lengths), next(output_lengths)
            if next(is_long):
                prompt = next(long_lengths)
            allowed = None if self.max_tokens is None else max(self.max_tokens, output)
            yield Request(next(times), prompt, output, allowed)


def _stream(lengths: Lengths, generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from lengths.sample(generator, _BLOCK).tolist()


def _chances(share: float, generator: np.random.Generator) -> Iterator[bool]:
    if share == 0:
        yield from itertools.repeat(False)
    while True:
        yield from (generator.random(_BLOCK) < share).tolist()

"""What is measured: models, workloads and figures. Pure, standard library only."""

from __future__ import annotations

import random
from dataclasses import dataclass

from bench.roofline import ModelShape

SMOLLM2 = "smollm2-135m"
LLAMA = "llama-1.1b"

MODELS = {
    SMOLLM2: ModelShape(
        hidden=576, layers=30, heads=9, kv_heads=3, head_dim=64, intermediate=1536, vocabulary=49152, tied=True
    ),
    LLAMA: ModelShape(
        hidden=2048, layers=22, heads=32, kv_heads=4, head_dim=64, intermediate=5632, vocabulary=32000, tied=False
    ),
}


@dataclass(frozen=True)
class Figure:
    """A quantity that is published: its name, its unit, and whether more of it is better."""

    name: str
    unit: str
    more_is_better: bool


TTFT = Figure("time to first token", "ms", more_is_better=False)
DECODE = Figure("decode", "tok/s", more_is_better=True)
TOTAL = Figure("all tokens", "tok/s", more_is_better=True)
PREFILL = Figure("prefill", "tok/s", more_is_better=True)
ITL = Figure("inter-token latency, p99", "ms", more_is_better=False)


@dataclass(frozen=True)
class Workload:
    """`requests` prompts of `prompt` random token ids each, `output` new tokens each, greedy, no early end.

    Offline all come at once. Over HTTP (`concurrency` set) as many are in flight.
    """

    name: str
    requests: int
    prompt: int
    output: int
    figures: tuple[Figure, ...]
    models: tuple[str, ...]
    concurrency: int | None = None

    def __str__(self) -> str:
        sizes = f"{self.requests} × ({self.prompt} + {self.output})"
        return f"{self.name} {sizes}" + ("" if self.concurrency is None else f", HTTP, {self.concurrency} at a time")

    @property
    def at_once(self) -> int:
        """Requests that are in flight together."""
        return self.concurrency or self.requests

    @property
    def needs_first(self) -> bool:
        """Whether the time to the first token is measured by a run of its own."""
        return TTFT in self.figures

    def prompts(self, vocabulary: int, round_number: int) -> list[list[int]]:
        """Ids of a round: the same for every engine, new in every round, so that no cache of prefixes can help."""
        source = random.Random(f"{self.name} {round_number}")
        return [[source.randrange(300, vocabulary - 10) for _ in range(self.prompt)] for _ in range(self.requests)]


_BOTH = (SMOLLM2, LLAMA)
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", 1, 128, 128, (DECODE, TTFT), _BOTH),
        Workload("W2", 64, 256, 128, (TOTAL,), (SMOLLM2,)),
        Workload("W2s", 16, 256, 64, (TOTAL,), (LLAMA,)),
        Workload("W3", 8, 2048, 1, (PREFILL,), (SMOLLM2,)),
        # Its 31 decode steps are lost in the spread of the prefill: the difference of two runs would be noise.
        Workload("W4", 1, 8000, 32, (TTFT,), (SMOLLM2,)),
        Workload("W1h", 4, 128, 128, (DECODE, TTFT), _BOTH, concurrency=1),
        Workload("W2h", 32, 256, 128, (TOTAL, TTFT, ITL), (SMOLLM2,), concurrency=16),
    )
}


def offline_figures(workload: Workload, first: float | None, whole: float) -> dict[str, float]:
    """Figures by name from seconds: `first` of a run with one new token, `whole` of the run as it is.

    Decode is (output - 1) tokens of each request over whole - first.
    """
    n, p, o = workload.requests, workload.prompt, workload.output
    values = {TOTAL.name: n * (p + o) / whole, PREFILL.name: n * p / whole}
    if first is not None:
        values[TTFT.name] = first * 1000
        values[DECODE.name] = n * (o - 1) / max(whole - first, 1e-9)
    return {figure.name: values[figure.name] for figure in workload.figures}

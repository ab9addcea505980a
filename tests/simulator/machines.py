"""Machines of the tests, whose steps' times are plain enough to reckon with, and an observer that notes everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from vajra.config import (
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
)
from vajra.simulator import Request
from vajra.simulator.plan import ClusterPlan
from vajra.simulator.replica import SimulatedReplica, Step
from vajra.simulator.running import Running


@dataclass
class TokenTime:
    """Every query token takes `per_token` seconds and every step `per_step` more."""

    per_token: float
    per_step: float = 0.0
    tokens: int = 0

    @property
    def seconds(self) -> float:
        return self.tokens * self.per_token + (self.per_step if self.tokens else 0.0)

    def add_decodes(self, count: int, context: int) -> None:
        self.tokens += count

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        self.tokens += num_query

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        return (self.tokens + num_query) * self.per_token + self.per_step

    def observe(self, actual: float) -> None:
        pass


@dataclass(frozen=True)
class TokenMachine:
    """A predictor of such batches."""

    per_token: float
    per_step: float = 0.0

    def batch(self) -> TokenTime:
        return TokenTime(self.per_token, self.per_step)

    @property
    def scale(self) -> float:
        return 1.0


def plan(
    machine: TokenMachine,
    *,
    scheduler: SchedulerConfig | None = None,
    prioritizer: RequestPrioritizerConfig | None = None,
    num_blocks: int = 4096,
    block_size: int = 16,
    max_model_len: int = 16384,
    replicas: int = 1,
    pipeline: int = 1,
    ahead: int = 1,
) -> ClusterPlan:
    return ClusterPlan(
        predictor=machine,
        scheduler=scheduler or FixedChunkReplicaSchedulerConfig(),
        prioritizer=prioritizer or FcfsRequestPrioritizerConfig(),
        num_blocks=num_blocks,
        block_size=block_size,
        max_model_len=max_model_len,
        replicas=replicas,
        pipeline=pipeline,
        ahead=ahead,
    )


@dataclass
class Notebook:
    """What happened, request by request and step by step."""

    arrived: list[Request] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tokens: int = 0
    first_tokens: list[tuple[float, Request]] = field(default_factory=list)
    finished: list[tuple[float, Running]] = field(default_factory=list)
    steps: list[tuple[int, Step]] = field(default_factory=list)


class NotingObserver:
    def __init__(self) -> None:
        self.notes = Notebook()

    def arrived(self, now: float, request: Request) -> None:
        self.notes.arrived.append(request)

    def refused(self, now: float, request: Request, reason: str) -> None:
        self.notes.refused.append(reason)

    def gap(self, seconds: float, count: int) -> None:
        self.notes.tokens += count

    def step(self, now: float, replica: SimulatedReplica, step: Step) -> None:
        self.notes.steps.append((replica.index, step))

    def prefilled(self, now: float, running: Running) -> None:
        self.notes.tokens += 1
        self.notes.first_tokens.append((now, running.request))

    def finished(self, now: float, running: Running) -> None:
        self.notes.finished.append((now, running))


def simulate(cluster: ClusterPlan, requests: list[Request]) -> Notebook:
    """All requests to their ends."""
    observer = NotingObserver()
    cluster.simulation(observer).run(requests)
    return observer.notes

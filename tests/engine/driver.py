"""Drives an engine the way a scheduler would, under any batching, chunking, block placement and preemption."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vajra.engine import BatchPlan, Engine, FinishReason, PlanItem, SampledToken, SamplingParams, StepHandle


@dataclass
class Request:
    token_ids: list[int]
    sampling: SamplingParams
    num_prompt: int | None = None  # None: all of token_ids


@dataclass
class Trace:
    """What a client would see, to the bit, and the logits of every position that was computed."""

    tokens: list[SampledToken] = field(default_factory=list)
    logits: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        return [t.token_id for t in self.tokens]

    @property
    def finish(self) -> FinishReason:
        return self.tokens[-1].finish


@dataclass
class _Running:
    seq_id: int
    known: int
    trace: Trace
    return_logits: bool
    processed: int = 0
    blocks: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Schedule:
    """How to cut the work: none of it may show in a trace."""

    batch: int = 1
    chunk: int = 4096
    block_size: int = 16
    preempt: float = 0.0  # probability, per step, that some running sequence is preempted
    ahead: int = 1  # steps submitted before a result is awaited
    seed: int = 0


def run(engine: Engine, requests: Sequence[Request], how: Schedule, num_blocks: int, budget: int) -> list[Trace]:
    """Runs all requests to their end; returns a trace for each, in order."""
    rng = random.Random(how.seed)
    free = list(range(num_blocks))
    rng.shuffle(free)
    waiting = deque(enumerate(requests))
    running: dict[int, _Running] = {}
    traces = [Trace() for _ in requests]
    flight: deque[tuple[StepHandle, dict[int, int]]] = deque()
    step = 0
    while waiting or running or flight:
        while waiting and len(running) < how.batch:
            i, r = waiting.popleft()
            prompt = len(r.token_ids) if r.num_prompt is None else r.num_prompt
            engine.add_sequence(i, r.token_ids, prompt, r.sampling)
            running[i] = _Running(i, len(r.token_ids), traces[i], r.sampling.return_logits)
        preempted = []
        if running and rng.random() < how.preempt:
            victim = rng.choice(list(running.values()))
            free += victim.blocks
            victim.blocks, victim.processed = [], 0
            preempted.append(victim.seq_id)
        items, starts, left = [], {}, budget
        for s in running.values():
            n = min(how.chunk, s.known - s.processed, left)
            if n == 0:
                continue
            need = -(-(s.processed + n) // how.block_size) - len(s.blocks)
            new = [free.pop(rng.randrange(len(free))) for _ in range(need)]
            s.blocks += new
            items.append(PlanItem(s.seq_id, n, new))
            starts[s.seq_id] = s.processed
            s.processed += n
            s.known += s.processed == s.known
            left -= n
        if items or preempted:
            flight.append((engine.submit(BatchPlan(step, items, preempted)), starts))
            step += 1
        while len(flight) > (how.ahead if running else 0):
            handle, begun = flight.popleft()
            result = handle.result(60)
            for token in result.tokens:
                traces[token.seq_id].tokens.append(token)
                if token.finish:
                    done = running.pop(token.seq_id)
                    free += done.blocks
                    engine.free_sequence(token.seq_id)
            for seq_id, rows in result.logits.items():
                for p, row in enumerate(rows, begun[seq_id]):
                    known = traces[seq_id].logits.setdefault(p, row)
                    assert known.tobytes() == row.tobytes(), f"position {p} computed twice differs"
    assert sorted(free) == list(range(num_blocks))
    return traces


def same(a: Sequence[Trace], b: Sequence[Trace]) -> None:
    """Asserts equality to the bit."""
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        assert x.tokens == y.tokens, f"request {i}"
        assert x.logits.keys() == y.logits.keys(), f"request {i}"
        for p, row in x.logits.items():
            assert row.tobytes() == y.logits[p].tobytes(), f"request {i}, position {p}"

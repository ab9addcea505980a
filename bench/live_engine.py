"""An engine of this process under a scheduler, step by step: the step loop of a replica without its channels."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, field
from typing import Any

from vajra.config import VajraDeployment
from vajra.engine import BatchPlan, PlanItem, SamplingParams, StepHandle
from vajra.prediction import FittedPredictor, Profile
from vajra.replica.rules import Rules
from vajra.scheduling import Batch, BlockManager, ReplicaScheduler, Sequence
from vajra.worker.loading import load_engine
from vajra.worker.protocol import Init

STEPS_IN_FLIGHT = 2  # as in a replica


@dataclass(frozen=True)
class Request:
    """One to run. `arrival` is in seconds from the run's begin; `kind` is for the report."""

    kind: str
    prompt: int
    output: int
    arrival: float = 0.0


@dataclass
class Answer:
    """When its tokens came, in seconds from the run's begin."""

    request: Request
    tokens: list[float] = field(default_factory=list)

    @property
    def ttft(self) -> float:
        return self.tokens[0] - self.request.arrival

    @property
    def gaps(self) -> list[float]:
        """Inter-token latencies."""
        return [b - a for a, b in zip(self.tokens, self.tokens[1:], strict=False)]


@dataclass(frozen=True)
class Step:
    """One batch as it ran. `cut`: the policy gave its last prefill less than there was left and than buffers hold."""

    end: float
    seconds: float
    predicted: float
    decodes: int
    chunks: tuple[tuple[int, int], ...]  # (query tokens, context)
    cut: bool


class LiveEngine:
    """A loaded engine and its profile; `run` may be called many times."""

    def __init__(self, deployment: VajraDeployment) -> None:
        self.deployment = deployment
        loaded = load_engine(Init(deployment.to_dict(), 1), lambda stage, part: None)
        self.engine, self.ready = loaded.engine, loaded.ready
        assert self.ready.profile is not None, "the deployment predicts nothing"
        self.profile = Profile.from_json(self.ready.profile)

    def run(
        self, requests: SequenceABC[Request], *, until: int | None = None, **configs: Any
    ) -> tuple[list[Answer], list[Step]]:
        """Runs requests to their ends, or to that of the one with index `until`, under the scheduler and prioritizer of
        `configs`. Prompts are of random tokens."""
        deployment = self.deployment.with_configs(**configs)
        predictor = FittedPredictor(self.profile)
        rules = Rules(deployment, self.deployment, predictor, self.ready.max_model_len)
        blocks = BlockManager(self.ready.num_blocks, self.ready.block_size)
        scheduler = ReplicaScheduler(blocks, rules.policy, rules.prioritizer, predictor)
        answers = [Answer(request) for request in requests]
        coming = deque(sorted(range(len(requests)), key=lambda i: requests[i].arrival))
        flight: deque[tuple[StepHandle, Batch, bool]] = deque()
        steps: list[Step] = []
        begin = time.perf_counter()
        sequences: dict[int, Sequence] = {}
        while coming or flight or len(scheduler):
            now = time.perf_counter() - begin
            while coming and requests[coming[0]].arrival <= now:
                index = coming.popleft()
                sequences[index] = self._add(scheduler, index, requests[index])
            while len(flight) < STEPS_IN_FLIGHT and (batch := scheduler.schedule(now)):
                items = [PlanItem(i.seq_id, i.num_query_tokens, i.new_block_ids) for i in batch.items]
                cut = self._is_cut(batch, sequences, rules.policy.max_tokens)
                flight.append((self.engine.submit(BatchPlan(batch.step_id, items, batch.preempted)), batch, cut))
            if not flight:
                time.sleep(max(0.0, requests[coming[0]].arrival - now))
                continue
            handle, batch, cut = flight.popleft()
            predicted = batch.seconds
            result = handle.result()
            end = time.perf_counter() - begin
            rules.observe(batch, result.seconds)
            scheduler.complete(batch, [token.seq_id for token in result.tokens])
            for token in result.tokens:
                if token.seq_id not in sequences:
                    continue
                answers[token.seq_id].tokens.append(end)
                if token.finish:
                    self._forget(scheduler, sequences, token.seq_id)
                    if token.seq_id == until:
                        coming.clear()
                        for seq_id in tuple(sequences):
                            self._forget(scheduler, sequences, seq_id)
            chunks = tuple((c.num_query, c.context) for c in batch.chunks)
            steps.append(Step(end, result.seconds, predicted, batch.num_decodes, chunks, cut))
        return answers, steps

    def _forget(self, scheduler: ReplicaScheduler, sequences: dict[int, Sequence], seq_id: int) -> None:
        del sequences[seq_id]
        scheduler.remove(seq_id)
        self.engine.free_sequence(seq_id)

    def _add(self, scheduler: ReplicaScheduler, index: int, request: Request) -> Sequence:
        ids = [(7919 * (index + 1) + 104729 * i) % (self.ready.vocab_size - 100) + 50 for i in range(request.prompt)]
        sampling = SamplingParams(temperature=0.0, max_tokens=request.output, min_tokens=request.output)
        self.engine.add_sequence(index, ids, request.prompt, sampling)
        sequence = Sequence(index, request.prompt, request.prompt, request.output, arrival=request.arrival)
        scheduler.add(sequence)
        return sequence

    @staticmethod
    def _is_cut(batch: Batch, sequences: dict[int, Sequence], max_tokens: int) -> bool:
        if not batch.chunks or batch.num_tokens >= max_tokens:
            return False
        return bool(sequences[batch.chunks[-1].seq_id].remaining_prefill)

"""The Engine protocol: one rank's model stage on one device, driven by batch plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vajra.engine.sampling import SamplingParams


class FinishReason(IntEnum):
    """Why a sequence ended, as the engine sees it (stop strings are the gateway's business)."""

    NONE = 0
    STOP = 1  # eos or a stop id; the id is the sequence's last token
    LENGTH = 2  # max_tokens reached
    ERROR = 3  # its logits hold NaN or infinity, as damaged weights or KV give; its batch-mates are unharmed


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One sequence's share of a step: its next `num_query_tokens` tokens, and KV blocks it newly owns.

    The engine knows how many of the sequence's tokens it has processed; blocks are appended to its table.
    A decode is num_query_tokens == 1. The step samples a token for the sequence when its query reaches the
    last known token; a decode planned one step ahead takes the token that the step before it samples.
    """

    seq_id: int
    num_query_tokens: int
    new_block_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """One step. `preempted` sequences lose their blocks and start again at token 0, before `items` run."""

    step_id: int
    items: Sequence[PlanItem]
    preempted: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class SampledToken:
    """One sampled token. A sequence that had already finished when its step ran yields none.

    One that ends with ERROR yields its end without a token: token_id is -1.
    """

    seq_id: int
    token_id: int
    finish: FinishReason
    logprob: float | None = None  # of the chosen token
    top_logprobs: Sequence[tuple[int, float]] = ()  # (token id, log-probability), best first


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step produced. `logits` has an entry per sequence with return_logits: float32 [num_query, vocab]."""

    step_id: int
    tokens: Sequence[SampledToken]
    seconds: float  # time the step took in the engine
    logits: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)


class StepHandle(Protocol):
    """A submitted step."""

    def done(self) -> bool:
        """Whether `result` would return at once."""

    def result(self, timeout: float | None = None) -> StepResult:
        """Waits for the step (GIL released). Raises TimeoutError, or EngineError when the step failed."""


class EngineError(RuntimeError):
    """The engine cannot go on, or was asked for something impossible; says what and what to do."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Everything an engine needs beside model and weights."""

    num_blocks: int  # KV blocks in the pool
    block_size: int  # tokens per block: 8, 16, 32, 64 or 128
    max_model_len: int
    max_batch_size: int  # sequences per step
    max_batch_tokens: int  # query tokens per step, for activation buffers
    num_threads: int | None = None  # None: the cgroup's CPU quota
    device: str = "cpu"


class Engine(Protocol):
    """One rank's model stage on one device. Calls come from one thread; steps run in order, in the background.

    `submit` may be called for step N+1 while step N runs. Sequence verbs take effect in call order with submits:
    free_sequence after submit(N) waits for N inside the engine, not in the caller.
    """

    fingerprint: str  # numerics fingerprint: equal fingerprints give equal bits

    def add_sequence(
        self, seq_id: int, token_ids: Sequence[int], num_prompt_tokens: int, sampling: SamplingParams
    ) -> None:
        """Makes a sequence known; token_ids beyond num_prompt_tokens were generated before (resume).

        Raises ValueError naming the argument for an id in use, ids outside the vocabulary or a bad boundary.
        """

    def submit(self, plan: BatchPlan) -> StepHandle:
        """Queues one step. Raises ValueError for unknown sequences, block ids or counts that do not fit."""

    def free_sequence(self, seq_id: int) -> None:
        """Forgets a sequence after the steps already submitted; its blocks may be planned for others then."""

    def close(self) -> None:
        """Stops the engine's threads and frees its memory."""

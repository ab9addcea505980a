"""TorchEngine: the Engine protocol in plain torch, oracle of the tests and `executionBackend: Python`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from vajra.engine.api import (
    BatchPlan,
    EngineError,
    EngineOptions,
    FinishReason,
    PlanItem,
    SampledToken,
    StepHandle,
    StepResult,
)
from vajra.engine.sampling import SamplingParams
from vajra.engine.sampling_reference import check_params, last_length, sample
from vajra.engine.torch_model import Rows, TorchModel
from vajra.models.spec import ModelSpec

if TYPE_CHECKING:
    from vajra.models.tensor import WeightSource


@dataclass(slots=True, eq=False)
class _Sequence:
    """A sequence as its plans see it (`processed`, `known`, `blocks`) and as its steps do (`tokens`, `finished`).

    Plans run ahead of steps: `known` counts tokens that submitted steps are yet to sample. The caller's thread
    writes the first group, the engine's thread the second. At `last_length` tokens the sequence ends, if not before.
    """

    seq_id: int
    num_prompt_tokens: int
    sampling: SamplingParams
    last_length: int
    known: int
    tokens: list[int]
    processed: int = 0
    blocks: list[int] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    """One plan item, resolved when it was submitted: tokens [start, end) with KV in `blocks`."""

    sequence: _Sequence
    start: int
    end: int
    blocks: list[int]
    samples: bool


class TorchEngine:
    """Readable torch on any of its devices. Equal inputs give equal tokens to tolerance, not to the last bit."""

    def __init__(self, spec: ModelSpec, weights: WeightSource, options: EngineOptions):
        if options.num_threads is not None:
            torch.set_num_threads(options.num_threads)
        self._options = options
        self._vocab_size = spec.vocab_size
        self._model = TorchModel(
            spec,
            weights,
            num_slots=options.num_blocks * options.block_size,
            max_positions=options.max_model_len,
            device=options.device,
        )
        self.fingerprint = f"torch-{torch.__version__}/{self._model.device.type}/{spec.dtype}"
        self._sequences: dict[int, _Sequence] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vajra-torch")
        self._failure: str | None = None
        self._closed = False

    def add_sequence(
        self, seq_id: int, token_ids: Sequence[int], num_prompt_tokens: int, sampling: SamplingParams
    ) -> None:
        tokens = [int(t) for t in token_ids]
        limit = self._options.max_model_len
        if seq_id in self._sequences:
            raise ValueError(f"seq_id {seq_id} is in use; free_sequence it first")
        if not 1 <= len(tokens) < limit:
            raise ValueError(f"token_ids holds {len(tokens)} tokens; 1 to {limit - 1} fit below max_model_len {limit}")
        if not 1 <= num_prompt_tokens <= len(tokens):
            raise ValueError(f"num_prompt_tokens {num_prompt_tokens} lies outside 1 to {len(tokens)}, the tokens given")
        if (wrong := next((t for t in tokens if not 0 <= t < self._vocab_size), None)) is not None:
            raise ValueError(f"token_ids has id {wrong}, outside the vocabulary of {self._vocab_size}")
        check_params(sampling, self._vocab_size)
        end = last_length(sampling, num_prompt_tokens, limit)
        if len(tokens) >= end:
            generated = len(tokens) - num_prompt_tokens
            raise ValueError(
                f"token_ids has {generated} generated tokens, max_tokens is {sampling.max_tokens}: none is left"
            )
        self._sequences[seq_id] = _Sequence(seq_id, num_prompt_tokens, sampling, end, len(tokens), tokens)

    def submit(self, plan: BatchPlan) -> StepHandle:
        if self._closed:
            raise EngineError("the engine is closed")
        preempted = [self._sequence(seq_id) for seq_id in plan.preempted]
        sequences = [self._sequence(item.seq_id) for item in plan.items]
        self._check(plan, sequences)
        for sequence in preempted:
            sequence.processed, sequence.blocks = 0, []
        pairs = zip(sequences, plan.items, strict=True)
        works = [self._advance(s, item) for s, item in pairs if s.known < s.last_length]
        step: Future[StepResult] = self._thread.submit(self._run, plan.step_id, works)
        return step

    def free_sequence(self, seq_id: int) -> None:
        self._sequence(seq_id)
        del self._sequences[seq_id]

    def close(self) -> None:
        """Ends after the running step; steps still queued fail. Frees the engine's memory."""
        self._closed = True
        self._thread.shutdown(wait=True)
        self._sequences.clear()
        self.__dict__.pop("_model", None)

    def _sequence(self, seq_id: int) -> _Sequence:
        if (sequence := self._sequences.get(seq_id)) is None:
            raise ValueError(f"seq_id {seq_id} is unknown; add_sequence it first")
        return sequence

    def _check(self, plan: BatchPlan, sequences: Sequence[_Sequence]) -> None:
        """Raises ValueError unless the whole plan can run; changes nothing."""
        options = self._options
        ids = [item.seq_id for item in plan.items]
        if len(set(ids)) != len(ids):
            raise ValueError(f"step {plan.step_id} plans a sequence twice: {sorted(ids)}")
        if len(ids) > options.max_batch_size:
            raise ValueError(
                f"step {plan.step_id} has {len(ids)} sequences, max_batch_size is {options.max_batch_size}"
            )
        total = sum(item.num_query_tokens for item in plan.items)
        if total > options.max_batch_tokens:
            raise ValueError(f"step {plan.step_id} has {total} tokens, max_batch_tokens is {options.max_batch_tokens}")
        for item, sequence in zip(plan.items, sequences, strict=True):
            if sequence.known >= sequence.last_length:  # planned before its last token was known to be the last
                continue
            where = f"step {plan.step_id}, seq_id {item.seq_id}"
            again = item.seq_id in plan.preempted
            processed, num_blocks = (0, 0) if again else (sequence.processed, len(sequence.blocks))
            pending = sequence.known - processed
            if not 1 <= item.num_query_tokens <= pending:
                raise ValueError(f"{where}: num_query_tokens {item.num_query_tokens} is outside 1 to {pending} pending")
            end = processed + item.num_query_tokens
            for block in item.new_block_ids:
                if not 0 <= block < options.num_blocks:
                    raise ValueError(f"{where}: block {block} is outside the pool of {options.num_blocks}")
            room = (num_blocks + len(item.new_block_ids)) * options.block_size
            if end > room:
                raise ValueError(f"{where}: {end} tokens need KV, its blocks hold {room}")

    @staticmethod
    def _advance(sequence: _Sequence, item: PlanItem) -> _Work:
        sequence.blocks.extend(item.new_block_ids)
        start = sequence.processed
        end = sequence.processed = start + item.num_query_tokens
        samples = end == sequence.known
        sequence.known += samples
        return _Work(sequence, start, end, list(sequence.blocks), samples)

    def _run(self, step_id: int, works: Sequence[_Work]) -> StepResult:
        """One step, on the engine's thread."""
        if self._closed:
            raise EngineError(f"the engine was closed before step {step_id} ran")
        if self._failure is not None:
            raise EngineError(f"an earlier step failed ({self._failure}); restart the engine")
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                tokens, logits = self._forward([w for w in works if not w.sequence.finished])
        except Exception as error:
            self._failure = f"step {step_id}: {error}"
            raise EngineError(self._failure) from error
        return StepResult(step_id, tokens, time.perf_counter() - started, logits)

    def _forward(self, works: Sequence[_Work]) -> tuple[list[SampledToken], dict[int, npt.NDArray[np.float32]]]:
        if not works:
            return [], {}
        ids = torch.tensor([t for w in works for t in w.sequence.tokens[w.start : w.end]])
        rows = [Rows(w.end - w.start, self._slots(w)) for w in works]
        hidden = self._model.forward(ids.to(self._model.device), rows).split([r.num_query for r in rows])
        tokens, logits = [], {}
        for work, states in zip(works, hidden, strict=True):
            sequence = work.sequence
            wanted = states if sequence.sampling.return_logits else states[-1:]
            if not (work.samples or sequence.sampling.return_logits):
                continue
            out = self._model.logits(wanted).cpu().numpy()
            if sequence.sampling.return_logits:
                logits[sequence.seq_id] = out
            if work.samples:
                tokens.append(self._sample(sequence, out[-1]))
        return tokens, logits

    def _sample(self, sequence: _Sequence, logits: npt.NDArray[np.float32]) -> SampledToken:
        token = sample(
            sequence.seq_id,
            logits,
            sequence.sampling,
            sequence.tokens,
            sequence.num_prompt_tokens,
            sequence.last_length,
        )
        if token.finish is not FinishReason.ERROR:
            sequence.tokens.append(token.token_id)
        sequence.finished = token.finish is not FinishReason.NONE
        return token

    def _slots(self, work: _Work) -> torch.Tensor:
        size = self._options.block_size
        blocks = torch.tensor(work.blocks[: -(-work.end // size)])
        slots = blocks[:, None] * size + torch.arange(size)
        return slots.flatten()[: work.end].to(self._model.device)

"""Drives an Engine the way a scheduler would, for one or more sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vajra.engine.api import BatchPlan, Engine, EngineOptions, FinishReason, PlanItem, SampledToken, StepHandle
from vajra.engine.sampling import SamplingParams

TIMEOUT = 120.0


def options(**changes: object) -> EngineOptions:
    """Room for a few short sequences."""
    defaults: dict[str, object] = {
        "num_blocks": 96,
        "block_size": 16,
        "max_model_len": 512,
        "max_batch_size": 8,
        "max_batch_tokens": 512,
    }
    return EngineOptions(**{**defaults, **changes})  # type: ignore[arg-type]


class Driver:
    """Hands out block ids in a scrambled order, numbers the steps, and keeps one step submitted ahead."""

    def __init__(self, engine: Engine, opts: EngineOptions) -> None:
        self.engine = engine
        self.block_size = opts.block_size
        self._free = np.random.default_rng(0).permutation(opts.num_blocks).tolist()
        self._owned: dict[int, list[int]] = {}
        self._processed: dict[int, int] = {}
        self._step = 0

    def item(self, seq_id: int, num_tokens: int) -> PlanItem:
        """A plan item that also claims the blocks its tokens need."""
        owned = self._owned.setdefault(seq_id, [])
        end = self._processed[seq_id] = self._processed.get(seq_id, 0) + num_tokens
        new = [self._free.pop() for _ in range(-(-end // self.block_size) - len(owned))]
        owned += new
        return PlanItem(seq_id, num_tokens, new)

    def plan(self, items: Sequence[PlanItem], preempted: Sequence[int] = ()) -> BatchPlan:
        self._step += 1
        return BatchPlan(self._step, items, preempted)

    def release(self, seq_id: int) -> None:
        """Takes a sequence's blocks back: before a preemption or after free_sequence."""
        self._free = self._owned.pop(seq_id, []) + self._free
        self._processed.pop(seq_id, None)

    def free(self, seq_id: int) -> None:
        self.engine.free_sequence(seq_id)
        self.release(seq_id)

    def teacher_force(self, token_ids: Sequence[int], chunk: int | None = None) -> npt.NDArray[np.float32]:
        """Logits [tokens, vocab] of every position, prefilled in chunks of `chunk` tokens (all at once if None)."""
        params = SamplingParams(temperature=0.0, max_tokens=1, return_logits=True)
        self.engine.add_sequence(0, token_ids, len(token_ids), params)
        parts = []
        for start in range(0, len(token_ids), chunk or len(token_ids)):
            num = min(chunk or len(token_ids), len(token_ids) - start)
            parts.append(self.engine.submit(self.plan([self.item(0, num)])).result(TIMEOUT).logits[0])
        self.free(0)
        return np.concatenate(parts)

    def generate(
        self, prompts: Sequence[Sequence[int]], params: Sequence[SamplingParams], chunk: int = 512
    ) -> list[list[SampledToken]]:
        """Every prompt's sampled tokens; all sequences run together, decodes submitted one step ahead."""
        for seq_id, (prompt, sampling) in enumerate(zip(prompts, params, strict=True)):
            self.engine.add_sequence(seq_id, prompt, len(prompt), sampling)
        outputs: list[list[SampledToken]] = [[] for _ in prompts]
        left = {seq_id: len(prompt) for seq_id, prompt in enumerate(prompts)}
        live = set(left)
        pending: StepHandle | None = None
        while live:
            items = []
            for seq_id in sorted(live):
                num = min(chunk, left[seq_id]) or 1
                left[seq_id] -= min(num, left[seq_id])
                items.append(self.item(seq_id, num))
            handle = self.engine.submit(self.plan(items))
            for token in pending.result(TIMEOUT).tokens if pending else ():
                outputs[token.seq_id].append(token)
                if token.finish is not FinishReason.NONE:
                    live.discard(token.seq_id)
            pending = handle
        assert pending is not None
        assert not pending.result(TIMEOUT).tokens  # planned before the last end was known
        for seq_id in range(len(prompts)):
            self.free(seq_id)
        return outputs

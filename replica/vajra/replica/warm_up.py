"""The first sequence of every worker: what has answered it can serve."""

from __future__ import annotations

from collections.abc import Callable

from vajra.replica.running import FINISH_ERROR
from vajra.replica.step_loop import StepLoop, Worker
from vajra.scheduling import Batch, ReplicaScheduler, Sequence
from vajra.worker.protocol import Add, Free, Ready, Result

SEQ_ID = 0  # a controller counts from 1


class BadLogits(Exception):
    """The model's first step was not finite."""

    def __init__(self) -> None:
        super().__init__(
            "the model's first step gave logits of NaN or infinity: its weights are damaged, or overflow its dtype. "
            "Fetch the model again and empty the cache of packed weights, or serve it with dtype BFloat16 or Float32."
        )


class WarmUp:
    """One prefill and one decode, the way that every request goes: scheduler, channel, engine and back."""

    def __init__(
        self, scheduler: ReplicaScheduler, worker: Worker, ready: Ready, on_timed: Callable[[Batch, float], None]
    ) -> None:
        """Sends the sequence. `scheduler` is one of its own, over all KV blocks: the worker holds nothing yet.
        `on_timed` as in StepLoop."""
        self.model = ready
        self._worker = worker
        self._loop = StepLoop(scheduler, worker, lambda: None, on_timed)
        prompt = [0] * max(1, min(2, ready.max_model_len - 1))
        max_tokens = max(1, min(2, ready.max_model_len - len(prompt)))
        scheduler.add(Sequence(SEQ_ID, len(prompt), len(prompt), max_tokens, arrival=0.0))
        self._loop.connected([Add(SEQ_ID, prompt, len(prompt), {"temperature": 0.0, "max_tokens": max_tokens})])

    def done(self, result: Result) -> bool:
        """Books a step; True when it was the last. Raises BadLogits."""
        self._loop.done(result)
        self._loop.plan()
        finishes = {token.finish for token in result.tokens} - {0}
        if FINISH_ERROR in finishes:
            raise BadLogits
        if finishes:
            self._worker.send([Free([SEQ_ID])])
        return bool(finishes)

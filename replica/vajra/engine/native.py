"""NativeEngine: the Engine protocol over the C++ engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vajra.engine import _native
from vajra.engine.api import BatchPlan, EngineError, EngineOptions, FinishReason, SampledToken, StepResult
from vajra.engine.packed import load_weights
from vajra.engine.sampling import SamplingParams

if TYPE_CHECKING:
    from vajra.models.spec import ModelSpec
    from vajra.models.tensor import WeightSource

_FINISH = tuple(FinishReason)


class NativeStep:
    """A step in the native engine's queue."""

    __slots__ = ("_result", "_step", "_step_id")

    def __init__(self, step_id: int, step: _native.Step) -> None:
        self._step_id = step_id
        self._step = step
        self._result: StepResult | None = None

    def done(self) -> bool:
        """Whether `result` would return at once."""
        return self._step.done()

    def result(self, timeout: float | None = None) -> StepResult:
        """Waits for the step (GIL released). Raises TimeoutError, or EngineError when the step failed."""
        if self._result is None:
            try:
                raw = self._step.result(timeout)
            except RuntimeError as e:
                raise EngineError(str(e)) from None
            if raw is None:
                raise TimeoutError(f"step {self._step_id} has not ended within {timeout} s")
            tokens, logits, seconds = raw
            sampled = [SampledToken(seq, token, _FINISH[end], lp, top) for seq, token, end, lp, top in tokens]
            self._result = StepResult(self._step_id, sampled, seconds, logits)
        return self._result


class NativeEngine:
    """One model on this machine's CPUs, run by kernels of the best instruction set at hand."""

    def __init__(
        self, spec: ModelSpec, weights: WeightSource, options: EngineOptions, *, cache_key: str | None = None
    ) -> None:
        """Packs (or maps) the weights and starts the engine's threads.

        Raises ValueError for a model or options that the kernels cannot run.
        """
        if options.device != "cpu":
            raise ValueError(f"device is {options.device!r}; the native engine has kernels for: cpu")
        packed = load_weights(spec, weights, cache_key)
        self._engine = _native.Engine(packed, options)
        content = cache_key if cache_key is not None else f"{packed.content_hash():016x}"
        self.fingerprint = (
            f"weights={content} layers={spec.num_layers} dtype={spec.dtype} quantization={spec.quantization} tp=1 "
            f"kernels={self._engine.kernels} numerics={_native.NUMERICS_VERSION}"
        )

    def add_sequence(
        self, seq_id: int, token_ids: Sequence[int], num_prompt_tokens: int, sampling: SamplingParams
    ) -> None:
        """Makes a sequence known; token_ids beyond num_prompt_tokens were generated before (resume)."""
        self._engine.add_sequence(seq_id, token_ids, num_prompt_tokens, sampling)

    def submit(self, plan: BatchPlan) -> NativeStep:
        """Queues one step. Raises ValueError for a plan that does not fit, EngineError once a step has failed."""
        try:
            step = self._engine.submit(plan.step_id, list(plan.items), plan.preempted)
        except RuntimeError as e:
            raise EngineError(str(e)) from None
        return NativeStep(plan.step_id, step)

    def free_sequence(self, seq_id: int) -> None:
        """Forgets a sequence after the steps already submitted; its blocks may be planned for others then."""
        self._engine.free_sequence(seq_id)

    def close(self) -> None:
        """Ends after the running step; steps still queued fail. Frees the engine's memory."""
        self._engine.close()

"""The native engine. Use it through vajra.engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vajra.engine.api import EngineOptions, PlanItem
from vajra.engine.sampling import SamplingParams
from vajra.models.spec import ModelSpec

ops: Any  # the op table on numpy arrays, for tests and benchmarks

NUMERICS_VERSION: int

def isa() -> str:
    """The kernel family that engines use: VAJRA_ISA obeyed."""

class ModelConfig:
    """Shapes of a model, read from a ModelSpec and checked."""

    @staticmethod
    def from_spec(spec: ModelSpec) -> ModelConfig: ...
    def kv_block_bytes(self, block_size: int) -> int:
        """Bytes of one KV block over all layers."""

class Weights:
    """Packed weights: a private arena or a cache file."""

    @staticmethod
    def in_memory(config: ModelConfig) -> Weights: ...
    @staticmethod
    def in_new_file(config: ModelConfig, path: str, descriptor: str) -> Weights: ...
    @staticmethod
    def from_file(config: ModelConfig, path: str, descriptor: str) -> Weights: ...
    def missing(self) -> list[str]:
        """Names still to be put, in the arena's order."""

    def put(self, name: str, dtype: str, array: npt.NDArray[Any]) -> None: ...
    def seal(self) -> None:
        """Completes a new cache file."""

    @property
    def nbytes(self) -> int: ...
    def content_hash(self) -> int: ...

_Sampled = tuple[int, int, int, float | None, Sequence[tuple[int, float]]]
_Output = tuple[list[_Sampled], dict[int, npt.NDArray[np.float32]], float]

class Step:
    """A submitted step."""

    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> _Output | None:
        """(tokens, logits, seconds) once, or None when the time ran out; RuntimeError when the step failed."""

class Engine:
    """Sequences and a queue of steps over one model."""

    def __init__(self, weights: Weights, options: EngineOptions) -> None: ...
    def add_sequence(
        self, seq_id: int, token_ids: Sequence[int], num_prompt_tokens: int, sampling: SamplingParams
    ) -> None: ...
    def submit(self, step_id: int, items: list[PlanItem], preempted: Sequence[int]) -> Step: ...
    def free_sequence(self, seq_id: int) -> None: ...
    def close(self) -> None: ...
    @property
    def kernels(self) -> str:
        """Name of the kernel family."""

"""Engines: one rank's model stage on one device. `create_engine` makes one; `vajra.engine.api` is the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vajra.engine.api import (
    BatchPlan,
    Engine,
    EngineError,
    EngineOptions,
    FinishReason,
    PlanItem,
    SampledToken,
    StepHandle,
    StepResult,
)
from vajra.engine.sampling import SamplingParams

if TYPE_CHECKING:
    from vajra.models.spec import ModelSpec
    from vajra.models.tensor import WeightSource

__all__ = [
    "BatchPlan",
    "Engine",
    "EngineError",
    "EngineOptions",
    "FinishReason",
    "PlanItem",
    "SampledToken",
    "SamplingParams",
    "StepHandle",
    "StepResult",
    "create_engine",
    "isa",
    "kv_block_bytes",
]


def create_engine(
    spec: ModelSpec,
    weights: WeightSource,
    options: EngineOptions,
    *,
    native: bool = True,
    cache_key: str | None = None,
) -> Engine:
    """Makes the native engine, or the torch engine with `native=False` (which imports torch).

    `cache_key` names the weights' content: with one, packed weights are kept in a cache file that later engines,
    also of other processes, map at once. Raises ValueError for a model or options that the engine cannot run, and
    what `weights` raises for a tensor it cannot read.
    """
    if native:
        from vajra.engine.native import NativeEngine

        return NativeEngine(spec, weights, options, cache_key=cache_key)
    if spec.quantization != "none":
        raise ValueError(
            f"quantization is {spec.quantization}; the torch engine has none. Set quantization to none, or "
            "use_native_execution_backend to true"
        )
    try:
        from vajra.engine.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the Python execution backend needs {error.name}, which is not installed here. Install vajra[torch], use "
            "an image that has it, or set worker.executionBackend to Native"
        ) from error

    return TorchEngine(spec, weights, options)


def isa() -> str:
    """The kernel family that the native engine uses on this machine: scalar, avx2, avx512, avx512fma or amx."""
    from vajra.engine import _native

    return _native.isa()


def kv_block_bytes(spec: ModelSpec, block_size: int) -> int:
    """Bytes that one KV block of `block_size` tokens takes, over all layers."""
    itemsize = 4 if spec.dtype == "float32" else 2
    return spec.num_layers * 2 * spec.num_kv_heads * spec.head_dim * block_size * itemsize

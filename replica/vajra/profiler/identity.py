"""Which profile an engine needs."""

from __future__ import annotations

import platform
from pathlib import Path

from vajra.engine import EngineOptions, isa
from vajra.engine.native import NativeEngine
from vajra.models.spec import ModelSpec
from vajra.prediction import Identity


def identity_of(spec: ModelSpec, options: EngineOptions, *, native: bool = True) -> Identity:
    """What a profile for an engine of this model, with these options, on this machine must be of."""
    return Identity(
        num_layers=spec.num_layers,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_heads=spec.num_heads,
        num_kv_heads=spec.num_kv_heads,
        head_dim=spec.head_dim,
        vocab_size=spec.vocab_size,
        dtype=spec.dtype,
        quantization=spec.quantization,
        processor=processor(),
        kernels=isa() if native else "torch",
        threads=num_threads(options),
        block_size=options.block_size,
    )


def is_native(engine: object) -> bool:
    """Whether an engine runs the native kernels."""
    return isinstance(engine, NativeEngine)


def num_threads(options: EngineOptions) -> int:
    """Threads of an engine with these options."""
    from vajra.engine._native import ops

    return options.num_threads or ops.usable_cpus()


def processor() -> str:
    """The processor's name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

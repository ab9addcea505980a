"""From a deployment to an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vajra.config import VajraDeployment
from vajra.engine import create_engine, kv_block_bytes
from vajra.engine.api import Engine, EngineOptions
from vajra.models import load
from vajra.models.spec import ModelSpec
from vajra.models.tensor import Tensor, WeightSource
from vajra.worker.memory import num_kv_blocks
from vajra.worker.protocol import Init, Ready
from vajra.worker.resources import memory_limit_bytes, num_cores
from vajra.worker.timing import execution_times


@dataclass(frozen=True)
class LoadedEngine:
    """An engine and what its controller must know of it."""

    engine: Engine
    ready: Ready
    spec: ModelSpec
    options: EngineOptions


def load_engine(init: Init, progress: Callable[[str, float], None], *, timed: bool = True) -> LoadedEngine:
    """Loads the model and builds its engine. `progress` hears (stage, 0 to 1). `timed`: with the execution times that
    the deployment asks for.

    Raises ModelError, ConfigError, ProfileError, OutOfMemory (a fault of the configuration) or EngineError.
    """
    deployment = VajraDeployment.from_dict(init.deployment)
    config = deployment.replica_config
    scheduler = config.scheduler_config
    model = load(
        config.model_config,
        quantization=deployment.quantization,
        progress=lambda _, done, total: progress("WeightDownload", _part(done, total)),
    )
    block_size = config.cache_config.block_size
    num_blocks = num_kv_blocks(
        model.spec,
        memory_bytes=init.memory_bytes or memory_limit_bytes(),
        utilization=config.worker_config.gpu_memory_utilization,
        num_local_replicas=init.num_local_replicas,
        block_bytes=kv_block_bytes(model.spec, block_size),
        block_size=block_size,
        max_model_len=model.max_model_len,
        max_batch_size=scheduler.max_batch_size,
        max_batch_tokens=scheduler.max_batch_tokens,
    )
    options = EngineOptions(
        num_blocks=num_blocks,
        block_size=block_size,
        max_model_len=model.max_model_len,
        max_batch_size=scheduler.max_batch_size,
        max_batch_tokens=scheduler.max_batch_tokens,
        num_threads=max(1, num_cores() // init.num_local_replicas),
    )
    native = config.worker_config.use_native_execution_backend
    progress("WeightLoad", 0.0)
    weights = CountedWeights(model.weights, lambda part: progress("WeightLoad", part))
    engine = create_engine(model.spec, weights, options, native=native, cache_key=model.content_key)
    progress("WeightLoad", 1.0)
    profile = execution_times(deployment, engine, model.spec, options, progress) if timed else None
    ready = Ready(
        fingerprint=engine.fingerprint,
        num_blocks=num_blocks,
        block_size=block_size,
        max_model_len=model.max_model_len,
        vocab_size=model.spec.vocab_size,
        eos_token_ids=list(model.spec.eos_token_ids),
        notices=list(model.notices),
        profile=profile.to_json() if profile is not None else None,
    )
    return LoadedEngine(engine, ready, model.spec, options)


class CountedWeights:
    """A WeightSource that says how many of its tensors have been read: at each whole percent."""

    def __init__(self, source: WeightSource, progress: Callable[[float], None]) -> None:
        self._source = source
        self._progress = progress
        self._read = 0

    def names(self) -> Sequence[str]:
        """The source's names."""
        return self._source.names()

    def tensor(self, name: str) -> Tensor:
        """The source's tensor."""
        total = len(self._source.names())
        before, self._read = self._read, min(total, self._read + 1)
        if self._read * 100 // total > before * 100 // total:
            self._progress(self._read / total)
        return self._source.tensor(name)


def _part(done: int, total: int) -> float:
    return min(1.0, done / total) if total else 0.0

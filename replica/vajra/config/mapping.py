"""Between the manifest's spec and the reference's classes, both ways, by the one table of fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from vajra.config.conversions import DoesNotFit
from vajra.config.errors import ConfigError, raise_errors
from vajra.config.reference import (
    CacheConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    LLMReplicaSetControllerConfig,
    MetricsConfig,
    ModelConfig,
    ParallelConfig,
    ReplicaControllerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
    WorkerConfig,
)
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.table import leaves

T = TypeVar("T")


def replica_set_config(spec: VajraDeploymentSpec) -> LLMReplicaSetControllerConfig:
    """The replica set's configuration."""
    return _reference(spec, LLMReplicaSetControllerConfig)


def replica_config(
    spec: VajraDeploymentSpec,
) -> LLMBaseReplicaControllerConfig | LLMPipelineParallelReplicaControllerConfig:
    """The replica controller's configuration; controller Auto is resolved by the number of pipeline stages."""
    parallel = _reference(spec, ParallelConfig)
    kind = spec.controller.type if spec.controller.type != "Auto" else _automatic(parallel)
    pipelined = kind == LLMPipelineParallelReplicaControllerConfig.type_name
    cls = LLMPipelineParallelReplicaControllerConfig if pipelined else LLMBaseReplicaControllerConfig
    return cls(
        model_config=_reference(spec, ModelConfig, model=spec.model.location),
        parallel_config=parallel,
        worker_config=_reference(spec, WorkerConfig),
        cache_config=_reference(spec, CacheConfig),
        scheduler_config=_reference(spec, SchedulerConfig.class_of(spec.scheduler.type)),
    )


def prioritizer_config(spec: VajraDeploymentSpec) -> RequestPrioritizerConfig:
    """The prioritizer's configuration."""
    return _reference(spec, RequestPrioritizerConfig.class_of(spec.prioritizer.type))


def metrics_config(spec: VajraDeploymentSpec) -> MetricsConfig:
    """The metrics' configuration."""
    return _reference(spec, MetricsConfig)


def spec_dict(
    replica_set: LLMReplicaSetControllerConfig,
    replica: ReplicaControllerConfig,
    prioritizer: RequestPrioritizerConfig,
    metrics: MetricsConfig,
) -> dict[str, Any]:
    """The manifest's spec, as plain data, that maps to these. Raises ConfigError for a value that no manifest holds."""
    parts: Sequence[Any] = (
        replica_set,
        replica.model_config,
        replica.parallel_config,
        replica.worker_config,
        replica.cache_config,
        replica.scheduler_config,
        prioritizer,
        metrics,
    )
    by_class = {type(part): part for part in parts}
    spec: dict[str, Any] = {}
    errors: list[ConfigError] = []
    for row in leaves():
        if row.reference is None or row.reference[0] not in by_class:
            continue
        value = getattr(by_class[row.reference[0]], row.reference[1])
        if value is None:
            continue
        try:
            _put(spec, row.path, row.field.option.conversion.to_manifest(value))
        except DoesNotFit as problem:
            errors.append(ConfigError(row.path, value, row.field.allowed, problem=str(problem)))
    raise_errors(errors)
    _put(spec, "spec.scheduler.type", replica.scheduler_config.type_name)
    _put(spec, "spec.prioritizer.type", prioritizer.type_name)
    if replica.type_name != _automatic(replica.parallel_config):
        _put(spec, "spec.controller.type", replica.type_name)
    spec["model"].update(model_source(replica.model_config.model, replica.model_config.revision))
    return spec


def model_source(model: str, revision: str | None) -> dict[str, Any]:
    """The manifest's name and source for the reference's `model`: an absolute path, an embedded name or a hub id.

    What has a revision comes from a hub.
    """
    if model.startswith("/"):
        path = PurePosixPath(model)
        return {"name": path.name or "model", "source": {"type": "HostPath", "hostPath": {"path": model}}}
    if model.startswith(("./", "../", "~")) or model in (".", ".."):
        raise ConfigError("spec.model.name", model, "an absolute path, a Hugging Face id or an embedded model's name")
    from_hub = "/" in model or revision is not None
    return {"name": model, "source": {"type": "HuggingFace" if from_hub else "Embedded"}}


def _automatic(parallel: ParallelConfig) -> str:
    pipelined = parallel.pipeline_parallel_size > 1
    return (LLMPipelineParallelReplicaControllerConfig if pipelined else LLMBaseReplicaControllerConfig).type_name


def _reference(spec: VajraDeploymentSpec, cls: type[T], **given: Any) -> T:
    """An instance of a reference class from the rows that belong to it; what is unset keeps the class's default."""
    values: dict[str, Any] = {}
    for row in leaves():
        if row.reference is not None and row.reference[0] is cls:
            value = row.value(spec)
            if value is not None:
                values[row.reference[1]] = row.field.option.conversion.to_reference(value)
    return cls(**(values | given))


def _put(spec: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")[1:]
    for section in sections:
        spec = spec.setdefault(section, {})
    spec[key] = value

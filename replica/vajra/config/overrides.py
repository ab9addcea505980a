"""Reference fields given by bare name, put where they belong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vajra.config.errors import ConfigError, did_you_mean, raise_errors
from vajra.config.fields import fields_of
from vajra.config.reference import (
    CacheConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    LLMReplicaSetControllerConfig,
    MetricsConfig,
    ModelConfig,
    ParallelConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
    WorkerConfig,
)

_FAMILIES: Mapping[str, type[Any]] = {
    "scheduler_config": SchedulerConfig,
    "prioritizer_config": RequestPrioritizerConfig,
}


def apply_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The four configs that `VajraDeployment.from_configs` takes. Raises ConfigError for a name that no class has."""
    members: dict[str, Any] = {
        "model_config": ModelConfig(),
        "parallel_config": ParallelConfig(),
        "worker_config": WorkerConfig(),
        "cache_config": CacheConfig(),
        "scheduler_config": FixedChunkReplicaSchedulerConfig(),
        "replica_set_config": LLMReplicaSetControllerConfig(),
        "prioritizer_config": FcfsRequestPrioritizerConfig(),
        "metrics_config": MetricsConfig(),
    }
    errors = []
    for name in members.keys() & overrides.keys():
        kind = _FAMILIES.get(name, type(members[name]))
        if isinstance(overrides[name], kind):
            members[name] = overrides[name]
        else:
            errors.append(ConfigError(name, overrides[name], f"a {kind.__name__}"))
    owner = {field.name: name for name, member in members.items() for field in fields_of(type(member))}
    changes: dict[str, dict[str, Any]] = {}
    for name, value in overrides.items():
        if name in owner:
            changes.setdefault(owner[name], {})[name] = value
        elif name not in members:
            known = [*owner, *members]
            errors.append(
                ConfigError(name, value, ", ".join(known), did_you_mean(name, known), problem="no such option")
            )
    raise_errors(errors)
    for name, fields in changes.items():
        members[name] = dataclasses.replace(members[name], **fields)
    set_level = ("replica_set_config", "prioritizer_config", "metrics_config")
    configs = {name: members.pop(name) for name in set_level}
    pipelined = members["parallel_config"].pipeline_parallel_size > 1
    controller = LLMPipelineParallelReplicaControllerConfig if pipelined else LLMBaseReplicaControllerConfig
    return configs | {"replica_config": controller(**members)}

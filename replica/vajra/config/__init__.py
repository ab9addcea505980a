"""Configuration: the reference's classes, exactly its names, fields and defaults, and the `VajraDeployment` manifest.

    deployment = VajraDeployment.from_yaml("manifests/smollm2.yaml")
    deployment.replica_config.scheduler_config      # FixedChunkReplicaSchedulerConfig(max_batch_size=128, …)

Every fault is a `ConfigError` that names the field's path, the value, what is allowed and what to do.
"""

from vajra.config.changes import ChangedField, changed_fields, updatable_paths, with_live_fields
from vajra.config.deployment import API_VERSION, KIND, VajraDeployment
from vajra.config.describe import OptionDescription, describe
from vajra.config.errors import ConfigError, ConfigErrors
from vajra.config.live import LiveSettings, UpdateRefused
from vajra.config.options import Change, Scope
from vajra.config.reference import (
    CacheConfig,
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    LLMReplicaSetControllerConfig,
    LrsRequestPrioritizerConfig,
    MetricsConfig,
    ModelConfig,
    ParallelConfig,
    ReplicaControllerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
    SpaceSharingReplicaSchedulerConfig,
    WorkerConfig,
)
from vajra.config.schema import json_schema
from vajra.config.serialization import from_dict, from_json, from_yaml, to_dict, to_json, to_yaml
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.support import check_supported, local_notices, require_supported

__all__ = [
    "API_VERSION",
    "KIND",
    "CacheConfig",
    "Change",
    "ChangedField",
    "ConfigError",
    "ConfigErrors",
    "DynamicChunkReplicaSchedulerConfig",
    "EdfRequestPrioritizerConfig",
    "FcfsRequestPrioritizerConfig",
    "FixedChunkReplicaSchedulerConfig",
    "LLMBaseReplicaControllerConfig",
    "LLMPipelineParallelReplicaControllerConfig",
    "LLMReplicaSetControllerConfig",
    "LiveSettings",
    "LrsRequestPrioritizerConfig",
    "MetricsConfig",
    "ModelConfig",
    "OptionDescription",
    "ParallelConfig",
    "ReplicaControllerConfig",
    "RequestPrioritizerConfig",
    "SchedulerConfig",
    "Scope",
    "SpaceSharingReplicaSchedulerConfig",
    "UpdateRefused",
    "VajraDeployment",
    "VajraDeploymentSpec",
    "WorkerConfig",
    "changed_fields",
    "check_supported",
    "describe",
    "from_dict",
    "from_json",
    "from_yaml",
    "json_schema",
    "local_notices",
    "require_supported",
    "to_dict",
    "to_json",
    "to_yaml",
    "updatable_paths",
    "with_live_fields",
]

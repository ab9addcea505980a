"""The sections that stand for the reference's classes: parallelism, worker, cache, scheduler, prioritizer, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import StrictBool, StrictInt, StrictStr

from vajra.config.base import manifest_class
from vajra.config.conversions import MILLISECONDS, PERCENT, switch
from vajra.config.options import Change, Scope, option
from vajra.config.reference import (
    BlockSize,
    CacheConfig,
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    MetricsConfig,
    ParallelConfig,
    ReplicaControllerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
    SpaceSharingReplicaSchedulerConfig,
    WorkerConfig,
)
from vajra.config.spec.model import HostPathSection, SecretKeySection
from vajra.config.spec.unions import Union, when

_ONE_RANK = "this version runs one rank per replica; add replicas instead"
_NO_FILES = "this version writes no metrics files; scrape /metrics with Prometheus"


@manifest_class
class ParallelismSection:
    """Ranks of a replica: pipeline x tensor x kv."""

    reference: ClassVar[type] = ParallelConfig

    pipeline: StrictInt = option(
        default=1, ge=1, le=1024, reference="pipeline_parallel_size", implemented=(1,), advice=_ONE_RANK
    )
    tensor: StrictInt = option(
        default=1, ge=1, le=1024, reference="tensor_parallel_size", implemented=(1,), advice=_ONE_RANK
    )
    kv: StrictInt = option(default=1, ge=1, le=1024, reference="kv_parallel_size", implemented=(1,), advice=_ONE_RANK)
    max_tokens_per_kv_group: StrictInt = option(
        default=0,
        ge=0,
        le=134217728,
        reference="max_num_tokens_per_kvp_group",
        implemented=(0,),
        advice=_ONE_RANK,
        doc="Tokens of one request that a KV group holds before the next joins; 0: no limit. With kv > 1 a multiple of "
        "cache.blockSize and larger than it.",
    )
    expert: StrictBool = option(
        default=False, reference="enable_expert_parallel", implemented=(False,), advice=_ONE_RANK
    )
    sequence_pipeline: StrictBool = option(
        default=False, reference="enable_sequence_pipeline_parallel", implemented=(False,), advice=_ONE_RANK
    )
    chunked_pipeline_comm_optimization: StrictBool = option(
        default=False, reference="enable_chunked_pipeline_comm_opt", implemented=(False,), advice=_ONE_RANK
    )


@manifest_class
class WorkerSection:
    """The workers."""

    reference: ClassVar[type] = WorkerConfig

    gpu_memory_utilization_percent: StrictInt = option(
        default=80, ge=1, le=100, reference="gpu_memory_utilization", conversion=PERCENT
    )
    execution_backend: Literal["Native", "Python"] = option(
        default="Native", reference="use_native_execution_backend", conversion=switch("Native", "Python")
    )


@manifest_class
class CacheSection:
    """The paged KV cache."""

    reference: ClassVar[type] = CacheConfig

    block_size: BlockSize = option(default=16, reference="block_size")


@manifest_class
class FixedChunkSection:
    """Options of FixedChunk."""

    reference: ClassVar[type] = FixedChunkReplicaSchedulerConfig

    max_batch_size: StrictInt = option(default=128, ge=1, le=65536, reference="max_batch_size")
    chunk_size: StrictInt = option(default=2048, ge=1, le=1048576, reference="chunk_size")


@manifest_class
class DynamicChunkSection:
    """Options of DynamicChunk."""

    reference: ClassVar[type] = DynamicChunkReplicaSchedulerConfig

    max_batch_size: StrictInt = option(default=128, ge=1, le=65536, reference="max_batch_size")
    max_chunk_tokens: StrictInt = option(default=8192, ge=1, le=1048576, reference="max_chunk_size_param")
    min_chunk_tokens: StrictInt = option(default=32, ge=1, le=1048576, reference="min_chunk_size_param")
    target_batch_time_milliseconds: StrictInt = option(
        default=50,
        ge=1,
        le=60000,
        reference="target_batch_time_param",
        conversion=MILLISECONDS,
        doc="Predicted time of a batch.",
    )


@manifest_class
class SpaceSharingSection(DynamicChunkSection):
    """Options of SpaceSharing."""

    reference: ClassVar[type] = SpaceSharingReplicaSchedulerConfig

    long_sequence_threshold_tokens: StrictInt = option(
        default=262144, ge=1, le=134217728, reference="long_seq_kv_cache_len_threshold"
    )


@manifest_class
class ConfigMapKeySection:
    """A key of a ConfigMap in the deployment's namespace."""

    name: StrictStr = option(min_length=1, max_length=253, doc="Name of the ConfigMap.")
    key: StrictStr = option(default="profile.json", min_length=1, max_length=253, doc="Key in the ConfigMap.")


@manifest_class
class ProfileSection(Union):
    """Where a predicting scheduler or prioritizer finds execution times."""

    members: ClassVar[Mapping[str, str]] = {"HostPath": "host_path", "ConfigMap": "config_map"}
    needed: ClassVar[frozenset[str]] = frozenset({"HostPath", "ConfigMap"})

    type: Literal["Auto", "HostPath", "ConfigMap"] = option(
        doc="Auto: measured where the replica runs. HostPath, ConfigMap: a profile that was written before.",
        implemented=("Auto", "HostPath"),
        in_cluster=("ConfigMap",),
        advice="outside a cluster use HostPath with the profile's file or folder",
    )
    host_path: HostPathSection | None = option(default=None)
    config_map: ConfigMapKeySection | None = option(default=None, scope=Scope.CLUSTER)


@manifest_class
class SchedulerSection(Union):
    """The replica scheduler."""

    members: ClassVar[Mapping[str, str]] = {
        "FixedChunk": "fixed_chunk",
        "DynamicChunk": "dynamic_chunk",
        "SpaceSharing": "space_sharing",
    }
    family = SchedulerConfig

    type: Literal["FixedChunk", "DynamicChunk", "SpaceSharing"] = option(
        doc="FixedChunk: a fixed token budget per batch. DynamicChunk: batches of equal predicted time. SpaceSharing: "
        "the same, and long requests leave room to short ones (needs prioritizer LRS).",
    )
    fixed_chunk: FixedChunkSection | None = option(default_factory=when("FixedChunk", FixedChunkSection))
    dynamic_chunk: DynamicChunkSection | None = option(default_factory=when("DynamicChunk", DynamicChunkSection))
    space_sharing: SpaceSharingSection | None = option(default_factory=when("SpaceSharing", SpaceSharingSection))
    profile: ProfileSection = option(
        default_factory=lambda: ProfileSection(type="Auto"), change=Change.RECREATE, updatable=False
    )


@manifest_class
class EdfSection:
    """Options of EDF."""

    reference: ClassVar[type] = EdfRequestPrioritizerConfig

    deadline_multiplier_percent: StrictInt = option(
        default=150, ge=1, le=100000, reference="deadline_multiplier", conversion=PERCENT
    )
    min_deadline_milliseconds: StrictInt = option(
        default=500,
        ge=0,
        le=86400000,
        reference="min_deadline",
        conversion=MILLISECONDS,
        doc="Shortest deadline, counted from arrival.",
    )


@manifest_class
class LrsSection(EdfSection):
    """Options of LRS."""

    reference: ClassVar[type] = LrsRequestPrioritizerConfig


@manifest_class
class PrioritizerSection(Union):
    """The request prioritizer: one per deployment."""

    members: ClassVar[Mapping[str, str]] = {"EDF": "edf", "LRS": "lrs"}
    family = RequestPrioritizerConfig

    type: Literal["FCFS", "EDF", "LRS"] = option(
        doc="FCFS: first come, first served. EDF: earliest deadline first. LRS: least remaining slack.",
    )
    edf: EdfSection | None = option(default_factory=when("EDF", EdfSection))
    lrs: LrsSection | None = option(default_factory=when("LRS", LrsSection))
    fairness: Literal["Disabled", "PerTenant"] = option(
        default="Disabled",
        doc="PerTenant: the tenant (an API key with a name) that was served least, by its weight, comes first; the "
        "prioritizer orders its requests.",
    )
    relegation: Literal["Disabled", "Late"] = option(
        default="Disabled",
        doc="Late: requests that cannot meet their deadline any more come after all that can, so that under overload "
        "some deadlines are met. FCFS knows only the deadlines that clients ask for.",
    )


@manifest_class
class ControllerSection(Union):
    """The replica controller."""

    family = ReplicaControllerConfig

    type: Literal["Auto", "Base", "PipelineParallel"] = option(
        doc="Auto: PipelineParallel with more than one pipeline stage, else Base.",
        implemented=("Auto", "Base"),
        advice="this version runs one pipeline stage; use Auto",
    )


@manifest_class
class WandbSection:
    """Weights & Biases."""

    reference: ClassVar[type] = MetricsConfig

    project: StrictStr = option(min_length=1, max_length=256, reference="wandb_project")
    group: StrictStr | None = option(default=None, min_length=1, max_length=256, reference="wandb_group")
    run_name: StrictStr | None = option(default=None, min_length=1, max_length=256, reference="wandb_run_name")
    sweep_id: StrictStr | None = option(default=None, min_length=1, max_length=256, reference="wandb_sweep_id")
    run_id: StrictStr | None = option(default=None, min_length=1, max_length=256, reference="wandb_run_id")
    api_key_secret_ref: SecretKeySection | None = option(
        default=None, scope=Scope.CLUSTER, doc="Secret with the API key; outside a cluster WANDB_API_KEY."
    )


@manifest_class
class MetricsSection:
    """Files of measurements that the engine writes itself; Prometheus metrics are always served."""

    reference: ClassVar[type] = MetricsConfig

    mode: Literal["Disabled", "Enabled"] = option(
        default="Disabled",
        reference="write_metrics",
        conversion=switch("Enabled", "Disabled"),
        implemented=("Disabled",),
        advice=_NO_FILES,
    )
    gpu_operations: StrictBool = option(
        default=False, reference="enable_gpu_op_level_metrics", implemented=(False,), advice=_NO_FILES
    )
    cpu_operations: StrictBool = option(
        default=False, reference="enable_cpu_op_level_metrics", implemented=(False,), advice=_NO_FILES
    )
    chrome_trace: StrictBool = option(
        default=False, reference="enable_chrome_trace", implemented=(False,), advice=_NO_FILES
    )
    individual_batches: StrictBool = option(
        default=False, reference="keep_individual_batch_metrics", implemented=(False,), advice=_NO_FILES
    )
    png_plots: StrictBool = option(default=False, reference="store_png", implemented=(False,), advice=_NO_FILES)
    output_dir: StrictStr = option(
        default=".",
        min_length=1,
        max_length=4096,
        reference="output_dir",
        change=Change.RECREATE,
        implemented=(".",),
        advice=_NO_FILES,
    )
    wandb: WandbSection | None = option(
        default=None,
        change=Change.RECREATE,
        implemented=(None,),
        advice=_NO_FILES,
        doc="Weights & Biases; unset: not used.",
    )

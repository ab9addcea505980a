"""The reference's classes: names, fields, defaults, checks and round trips."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.strategies import config

import vajra.config as config_package
from vajra.config import (
    CacheConfig,
    ConfigError,
    ConfigErrors,
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    ModelConfig,
    ParallelConfig,
    ReplicaControllerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
    SpaceSharingReplicaSchedulerConfig,
    WorkerConfig,
    from_dict,
    from_json,
    from_yaml,
    to_dict,
    to_json,
    to_yaml,
)
from vajra.config.fields import fields_of
from vajra.config.reference import REFERENCE_CLASSES

# As published: class, fields, defaults.
PUBLISHED: dict[str, dict[str, Any]] = {
    "ModelConfig": {
        "model": "meta-llama/Llama-2-7b-chat-hf",
        "trust_remote_code": True,
        "download_dir": None,
        "load_format": "auto",
        "dtype": "float16",
        "seed": 0,
        "revision": None,
        "max_model_len": 4096,
        "override_num_layers": None,
    },
    "ParallelConfig": {
        "pipeline_parallel_size": 1,
        "tensor_parallel_size": 1,
        "enable_expert_parallel": False,
        "enable_sequence_pipeline_parallel": False,
        "enable_chunked_pipeline_comm_opt": False,
        "kv_parallel_size": 1,
        "max_num_tokens_per_kvp_group": 0,
    },
    "WorkerConfig": {"gpu_memory_utilization": 0.8, "use_native_execution_backend": True},
    "CacheConfig": {"block_size": 16},
    "FixedChunkReplicaSchedulerConfig": {"max_batch_size": 128, "chunk_size": 2048},
    "DynamicChunkReplicaSchedulerConfig": {
        "max_batch_size": 128,
        "max_chunk_size_param": 8192,
        "min_chunk_size_param": 32,
        "target_batch_time_param": 0.05,
    },
    "SpaceSharingReplicaSchedulerConfig": {
        "max_batch_size": 128,
        "max_chunk_size_param": 8192,
        "min_chunk_size_param": 32,
        "target_batch_time_param": 0.05,
        "long_seq_kv_cache_len_threshold": 262144,
    },
    "FcfsRequestPrioritizerConfig": {},
    "EdfRequestPrioritizerConfig": {"deadline_multiplier": 1.5, "min_deadline": 0.5},
    "LrsRequestPrioritizerConfig": {"deadline_multiplier": 1.5, "min_deadline": 0.5},
    "LLMReplicaSetControllerConfig": {"num_replicas": 1, "num_tokenizer_workers": 10},
    "MetricsConfig": {
        "write_metrics": False,
        "wandb_project": None,
        "wandb_group": None,
        "wandb_run_name": None,
        "wandb_sweep_id": None,
        "wandb_run_id": None,
        "enable_gpu_op_level_metrics": False,
        "enable_cpu_op_level_metrics": False,
        "enable_chrome_trace": False,
        "keep_individual_batch_metrics": False,
        "store_png": False,
        "output_dir": ".",
    },
}
CONTROLLERS = (LLMBaseReplicaControllerConfig, LLMPipelineParallelReplicaControllerConfig)
MEMBERS = ["model_config", "parallel_config", "worker_config", "cache_config", "scheduler_config"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_and_defaults_are_the_published_ones(name: str) -> None:
    cls = getattr(config_package, name)
    assert {field.name: getattr(cls(), field.name) for field in dataclasses.fields(cls)} == PUBLISHED[name]


def test_every_reference_class_is_published() -> None:
    assert {cls.__name__ for cls in REFERENCE_CLASSES} == {*PUBLISHED, *(cls.__name__ for cls in CONTROLLERS)}
    assert {cls.__name__ for cls in REFERENCE_CLASSES} <= set(config_package.__all__)


@pytest.mark.parametrize("cls", CONTROLLERS)
def test_controllers_have_the_five_members(cls: type[Any]) -> None:
    assert [field.name for field in dataclasses.fields(cls)] == MEMBERS
    parts = (ModelConfig(seed=3), ParallelConfig(), WorkerConfig(), CacheConfig(block_size=8))
    built = cls(**dict(zip(MEMBERS, (*parts, DynamicChunkReplicaSchedulerConfig()), strict=True)))
    assert (built.model_config.seed, built.cache_config.block_size) == (3, 8)
    assert isinstance(built.scheduler_config, DynamicChunkReplicaSchedulerConfig)


def test_the_registries_know_every_type() -> None:
    assert list(SchedulerConfig.registry()) == ["FixedChunk", "DynamicChunk", "SpaceSharing"]
    assert list(RequestPrioritizerConfig.registry()) == ["FCFS", "EDF", "LRS"]
    assert dict(ReplicaControllerConfig.registry()) == dict(zip(("Base", "PipelineParallel"), CONTROLLERS, strict=True))
    assert SchedulerConfig.class_of("SpaceSharing") is SpaceSharingReplicaSchedulerConfig
    for family in (SchedulerConfig, RequestPrioritizerConfig, ReplicaControllerConfig):
        for name, member in family.registry().items():
            assert member.type_name == name
            assert issubclass(member, family)


def test_a_family_has_no_instances() -> None:
    with pytest.raises(TypeError, match="use one of FixedChunkReplicaSchedulerConfig"):
        SchedulerConfig()


@pytest.mark.parametrize("cls", REFERENCE_CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=20)
@given(st.data())
def test_round_trips(cls: type[Any], data: st.DataObject) -> None:
    built = data.draw(config(cls))
    assert from_dict(cls, to_dict(built)) == built
    assert from_yaml(cls, to_yaml(built)) == built
    assert from_json(cls, to_json(built)) == built
    family = next((base for base in (SchedulerConfig, RequestPrioritizerConfig) if issubclass(cls, base)), cls)
    assert from_dict(family, to_dict(built)) == built
    assert pickle.loads(pickle.dumps(built)) == built


@pytest.mark.parametrize("cls", REFERENCE_CLASSES, ids=lambda cls: cls.__name__)
def test_frozen_keyword_only_and_closed(cls: type[Any]) -> None:
    for field in fields_of(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(cls(), field.name, field.default)
        with pytest.raises(TypeError):
            cls(field.default)
    with pytest.raises(ConfigError, match=f"{cls.__name__}.nonsense: no such field"):
        cls(nonsense=1)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (ModelConfig, {"modle": "x"}, "ModelConfig.modle: no such field; .*did you mean model?"),
        (ModelConfig, {"dtype": "fp16"}, "got 'fp16'; allowed: one of float16, bfloat16, float32, auto; did you mean"),
        (ModelConfig, {"load_format": "npz"}, "allowed: one of auto, pt, safetensors, gguf, dummy"),
        (ModelConfig, {"seed": True}, "seed: got True; allowed: an integer"),
        (ModelConfig, {"seed": "1"}, "seed: got '1'; allowed: an integer"),
        (ModelConfig, {"model": ""}, "allowed: text, not empty"),
        (ModelConfig, {"max_model_len": 0}, "an integer of at least 1"),
        (ModelConfig, {"override_num_layers": 0}, "an integer of at least 1"),
        (ParallelConfig, {"tensor_parallel_size": 0}, "an integer of at least 1"),
        (ParallelConfig, {"enable_expert_parallel": 1}, "got 1; allowed: true or false"),
        (WorkerConfig, {"gpu_memory_utilization": 0}, "a number above 0 up to 1"),
        (WorkerConfig, {"gpu_memory_utilization": 1.01}, "a number above 0 up to 1"),
        (WorkerConfig, {"gpu_memory_utilization": float("nan")}, "got nan; allowed: a number above 0 up to 1"),
        (WorkerConfig, {"gpu_memory_utilization": True}, "got True; allowed: a number"),
        (CacheConfig, {"block_size": 12}, "got 12; allowed: one of 8, 16, 32, 64, 128"),
        (FixedChunkReplicaSchedulerConfig, {"chunk_size": 1.5}, "got 1.5; allowed: an integer of at least 1"),
        (DynamicChunkReplicaSchedulerConfig, {"min_chunk_size_param": 9000}, "at most max_chunk_size_param"),
        (SpaceSharingReplicaSchedulerConfig, {"max_chunk_size_param": 8}, "min_chunk_size_param: got 32"),
        (EdfRequestPrioritizerConfig, {"min_deadline": -0.1}, "a number of at least 0"),
        (LLMBaseReplicaControllerConfig, {"scheduler_config": 3}, "allowed: one of FixedChunkReplicaSchedulerConfig"),
        (LLMBaseReplicaControllerConfig, {"scheduler_config": FcfsRequestPrioritizerConfig()}, "scheduler_config: got"),
        (
            LLMBaseReplicaControllerConfig,
            {"parallel_config": ParallelConfig(pipeline_parallel_size=2)},
            "parallel_config.pipeline_parallel_size: got 2; allowed: 1 in a base controller; use LLMPipelineParallel",
        ),
    ],
)
def test_bad_values_are_explained(cls: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cls(**values)
    with pytest.raises(ConfigError, match=message):  # and when the validator exists already
        cls(**values)


def test_all_faults_together() -> None:
    with pytest.raises(ConfigErrors) as caught:
        ModelConfig(dtype="x", seed=None, nonsense=1)  # type: ignore[arg-type, call-arg]
    assert [fault.path for fault in caught.value.errors] == [
        "ModelConfig.dtype",
        "ModelConfig.seed",
        "ModelConfig.nonsense",
    ]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert str(pickle.loads(pickle.dumps(copy.errors[0]))) == str(copy.errors[0])


@pytest.mark.parametrize(
    ("cls", "data", "message"),
    [
        (SchedulerConfig, {"type": "fixed_chunk"}, "SchedulerConfig.type: got 'fixed_chunk'.*did you mean FixedChunk?"),
        (SchedulerConfig, {}, "SchedulerConfig.type: a value is required"),
        (SchedulerConfig, [], r"SchedulerConfig: got \[\]; allowed: a mapping"),
        (FixedChunkReplicaSchedulerConfig, {"type": "DynamicChunk"}, "type: got 'DynamicChunk'; allowed: FixedChunk"),
        (ModelConfig, {"type": "x"}, "ModelConfig.type: no such field"),
        (
            LLMBaseReplicaControllerConfig,
            {"scheduler_config": {"type": "FixedChunk", "chunk_sise": 1}},
            "LLMBaseReplicaControllerConfig.scheduler_config.chunk_sise: no such field.*did you mean chunk_size",
        ),
        (
            LLMBaseReplicaControllerConfig,
            {"scheduler_config": {"type": "LRS"}},
            "LLMBaseReplicaControllerConfig.scheduler_config.type: got 'LRS'",
        ),
    ],
)
def test_bad_data_is_explained(cls: type[Any], data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(cls, data)


def test_json_that_is_none() -> None:
    with pytest.raises(ConfigError, match="ModelConfig"):
        from_json(ModelConfig, "{")

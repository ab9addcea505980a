"""Manifests in and out, and their mapping to the reference's classes, both ways."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.config.strategies import manifests

from vajra.config import (
    API_VERSION,
    KIND,
    CacheConfig,
    ConfigError,
    ConfigErrors,
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
    SpaceSharingReplicaSchedulerConfig,
    VajraDeployment,
    WorkerConfig,
)
from vajra.config.fields import fields_of
from vajra.config.reference import REFERENCE_CLASSES
from vajra.config.table import Row, leaves

HEAD: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "x"}}
LLAMA = "meta-llama/Llama-2-7b-chat-hf"


def deployment(**spec: Any) -> VajraDeployment:
    return VajraDeployment.from_dict(HEAD | {"spec": {"model": {"name": LLAMA}} | spec})


def configs(found: VajraDeployment) -> dict[str, Any]:
    return {
        "replica_set_config": found.replica_set_config,
        "replica_config": found.replica_config,
        "prioritizer_config": found.prioritizer_config,
        "metrics_config": found.metrics_config,
    }


def test_the_smallest_manifest_has_every_default_of_the_reference() -> None:
    found = deployment()
    assert found.replica_set_config == LLMReplicaSetControllerConfig()
    assert found.replica_config == LLMBaseReplicaControllerConfig(
        model_config=ModelConfig(),
        parallel_config=ParallelConfig(),
        worker_config=WorkerConfig(),
        cache_config=CacheConfig(),
        scheduler_config=FixedChunkReplicaSchedulerConfig(),
    )
    assert found.prioritizer_config == FcfsRequestPrioritizerConfig()
    assert found.metrics_config == MetricsConfig()
    assert (found.name, found.served_name) == ("x", LLAMA)


@pytest.mark.parametrize(
    ("spec", "cls"),
    [
        ({"scheduler": {"type": "DynamicChunk"}}, DynamicChunkReplicaSchedulerConfig),
        (
            {"scheduler": {"type": "SpaceSharing"}, "prioritizer": {"type": "LRS"}},
            SpaceSharingReplicaSchedulerConfig,
        ),
        ({"prioritizer": {"type": "EDF"}}, EdfRequestPrioritizerConfig),
        ({"prioritizer": {"type": "LRS"}}, LrsRequestPrioritizerConfig),
    ],
)
def test_a_chosen_type_has_every_default_of_its_class(spec: dict[str, Any], cls: type[Any]) -> None:
    found = deployment(**spec)
    assert cls() in (found.replica_config.scheduler_config, found.prioritizer_config)


def test_every_reference_field_has_exactly_one_place() -> None:
    places = [row.reference for row in leaves() if row.reference]
    controllers = (LLMBaseReplicaControllerConfig, LLMPipelineParallelReplicaControllerConfig)
    expected = [(cls, field.name) for cls in REFERENCE_CLASSES if cls not in controllers for field in fields_of(cls)]
    assert len(places) == len(set(places))
    assert set(places) == set(expected)


# A value other than the default for every field that stands for one of the reference: manifest's and Python's.
OTHER: dict[str, tuple[Any, Any]] = {
    "spec.replicas": (3, 3),
    "spec.tokenizerWorkers": (2, 2),
    "spec.model.name": ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
    "spec.model.revision": ("v1", "v1"),
    "spec.model.trustRemoteCode": (False, False),
    "spec.model.dtype": ("BFloat16", "bfloat16"),
    "spec.model.loadFormat": ("GGUF", "gguf"),
    "spec.model.seed": (-7, -7),
    "spec.model.maxModelLen": (8192, 8192),
    "spec.model.overrideNumLayers": (2, 2),
    "spec.model.downloadDir": ("/models", "/models"),
    "spec.parallelism.pipeline": (2, 2),
    "spec.parallelism.tensor": (4, 4),
    "spec.parallelism.kv": (2, 2),
    "spec.parallelism.maxTokensPerKVGroup": (262144, 262144),
    "spec.parallelism.expert": (True, True),
    "spec.parallelism.sequencePipeline": (True, True),
    "spec.parallelism.chunkedPipelineCommOptimization": (True, True),
    "spec.worker.gpuMemoryUtilizationPercent": (29, 0.29),
    "spec.worker.executionBackend": ("Python", False),
    "spec.cache.blockSize": (64, 64),
    "spec.scheduler.fixedChunk.maxBatchSize": (7, 7),
    "spec.scheduler.fixedChunk.chunkSize": (512, 512),
    "spec.scheduler.dynamicChunk.maxBatchSize": (7, 7),
    "spec.scheduler.dynamicChunk.maxChunkTokens": (4096, 4096),
    "spec.scheduler.dynamicChunk.minChunkTokens": (64, 64),
    "spec.scheduler.dynamicChunk.targetBatchTimeMilliseconds": (29, 0.029),
    "spec.scheduler.spaceSharing.maxBatchSize": (7, 7),
    "spec.scheduler.spaceSharing.maxChunkTokens": (4096, 4096),
    "spec.scheduler.spaceSharing.minChunkTokens": (64, 64),
    "spec.scheduler.spaceSharing.targetBatchTimeMilliseconds": (29, 0.029),
    "spec.scheduler.spaceSharing.longSequenceThresholdTokens": (65536, 65536),
    "spec.prioritizer.edf.deadlineMultiplierPercent": (110, 1.1),
    "spec.prioritizer.edf.minDeadlineMilliseconds": (0, 0.0),
    "spec.prioritizer.lrs.deadlineMultiplierPercent": (110, 1.1),
    "spec.prioritizer.lrs.minDeadlineMilliseconds": (1, 0.001),
    "spec.metrics.mode": ("Enabled", True),
    "spec.metrics.gpuOperations": (True, True),
    "spec.metrics.cpuOperations": (True, True),
    "spec.metrics.chromeTrace": (True, True),
    "spec.metrics.individualBatches": (True, True),
    "spec.metrics.pngPlots": (True, True),
    "spec.metrics.outputDir": ("/out", "/out"),
    "spec.metrics.wandb.project": ("p", "p"),
    "spec.metrics.wandb.group": ("g", "g"),
    "spec.metrics.wandb.runName": ("r", "r"),
    "spec.metrics.wandb.sweepID": ("s", "s"),
    "spec.metrics.wandb.runID": ("i", "i"),
}
NEEDS: dict[str, dict[str, Any]] = {  # what must stand beside a field for the manifest to be valid
    "spec.parallelism.kv": {"parallelism": {"maxTokensPerKVGroup": 262144}},
    "spec.scheduler.fixedChunk": {"scheduler": {"type": "FixedChunk"}},
    "spec.scheduler.dynamicChunk": {"scheduler": {"type": "DynamicChunk"}},
    "spec.scheduler.spaceSharing": {"scheduler": {"type": "SpaceSharing"}, "prioritizer": {"type": "LRS"}},
    "spec.prioritizer.edf": {"prioritizer": {"type": "EDF"}},
    "spec.prioritizer.lrs": {"prioritizer": {"type": "LRS"}},
    "spec.metrics.wandb": {"metrics": {"wandb": {"project": "p"}}},
}


def test_the_table_of_other_values_is_complete() -> None:
    assert set(OTHER) == {row.path for row in leaves() if row.reference}


@pytest.mark.parametrize("row", [row for row in leaves() if row.reference], ids=lambda row: row.path)
def test_each_field_reaches_its_class_and_comes_back(row: Row) -> None:
    written, meant = OTHER[row.path]
    spec: dict[str, Any] = {"model": {"name": LLAMA}}
    for path, needed in NEEDS.items():
        if row.path.startswith(path):
            _merge(spec, needed)
    before = configs(VajraDeployment.from_dict(HEAD | {"spec": spec}))
    nested: Any = written
    for key in reversed(row.path.split(".")[1:]):
        nested = {key: nested}
    _merge(spec, nested)
    found = VajraDeployment.from_dict(HEAD | {"spec": spec})
    after = configs(found)
    assert row.reference is not None
    changed = {key: value for key, value in _flat(after).items() if _flat(before)[key] != value}
    expected = {row.reference: meant} if row.path != "spec.metrics.wandb.project" else {}
    assert changed == expected
    assert type(_flat(after)[row.reference]) is type(meant)
    back = VajraDeployment.from_configs(**after)
    assert row.value(back.spec) == written
    assert configs(back) == after


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict):
            into[key] = dict(into.get(key, {}))
            _merge(into[key], value)
        else:
            into[key] = value


def _flat(found: Any) -> dict[tuple[type[Any], str], Any]:
    """Every field of every config, without the controller's class, which the pipeline decides."""
    flat: dict[tuple[type[Any], str], Any] = {}
    for value in found.values() if isinstance(found, dict) else [found]:
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            flat |= _flat(inner) if dataclasses.is_dataclass(inner) else {(type(value), field.name): inner}
    return flat


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(manifests())
def test_round_trips(manifest: dict[str, Any]) -> None:
    found = VajraDeployment.from_dict(manifest)
    assert VajraDeployment.from_dict(found.to_dict()) == found
    assert VajraDeployment.from_dict(found.to_dict(defaults=False)) == found
    assert VajraDeployment.from_yaml(found.to_yaml()) == found
    assert VajraDeployment.from_yaml(found.to_yaml(defaults=False)) == found
    assert pickle.loads(pickle.dumps(found)) == found
    back = VajraDeployment.from_configs(**configs(found))
    assert configs(back) == configs(found)


def test_controller_auto_is_resolved_and_comes_back() -> None:
    pipelined = deployment(parallelism={"pipeline": 2})
    assert isinstance(pipelined.replica_config, LLMPipelineParallelReplicaControllerConfig)
    explicit = deployment(controller={"type": "PipelineParallel"})
    assert isinstance(explicit.replica_config, LLMPipelineParallelReplicaControllerConfig)
    assert VajraDeployment.from_configs(**configs(pipelined)).spec.controller.type == "Auto"
    assert VajraDeployment.from_configs(**configs(explicit)).spec.controller.type == "PipelineParallel"


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ({"type": "HuggingFace"}, "m"),
        ({"type": "Embedded"}, "m"),
        ({"type": "HostPath", "hostPath": {"path": "/models/m.gguf"}}, "/models/m.gguf"),
        ({"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}, "/vajra/model"),
        (
            {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c", "path": "/a"}},
            "/vajra/model/a",
        ),
        ({"type": "Image", "image": {"reference": "r"}}, "/vajra/model"),
    ],
)
def test_the_source_says_where_the_model_is(source: dict[str, Any], location: str) -> None:
    found = deployment(model={"name": "m", "source": source})
    assert found.replica_config.model_config.model == location
    assert found.served_name == "m"


@pytest.mark.parametrize(
    ("config", "path", "why"),
    [
        (WorkerConfig(gpu_memory_utilization=0.805), "spec.worker.gpuMemoryUtilizationPercent", "whole percent"),
        (WorkerConfig(gpu_memory_utilization=0.001), "spec.worker.gpuMemoryUtilizationPercent", "whole percent"),
        (CacheConfig(), "", ""),
        (
            DynamicChunkReplicaSchedulerConfig(target_batch_time_param=0.0005),
            "spec.scheduler.dynamicChunk.targetBatchTimeMilliseconds",
            "whole milliseconds",
        ),
        (
            DynamicChunkReplicaSchedulerConfig(target_batch_time_param=61),
            "spec.scheduler.dynamicChunk.targetBatchTimeMilliseconds",
            "from 1 to 60000",
        ),
        (FixedChunkReplicaSchedulerConfig(chunk_size=2**21), "spec.scheduler.fixedChunk.chunkSize", "to 1048576"),
        (ModelConfig(seed=2**31), "spec.model.seed", "to 2147483647"),
        (ModelConfig(download_dir="models"), "spec.model.downloadDir", "an absolute path"),
        (ModelConfig(model="./models"), "spec.model.name", "an absolute path"),
        (ModelConfig(model="a/" + "b" * 511), "spec.model.name", "1 to 512 characters"),
        (MetricsConfig(wandb_group="g"), "spec.metrics.wandb.project", "a value is required"),
        (ParallelConfig(kv_parallel_size=2), "spec.parallelism.maxTokensPerKVGroup", "a multiple of cache.blockSize"),
    ],
)
def test_a_python_value_that_does_not_fit_is_refused(config: Any, path: str, why: str) -> None:
    member = next(
        name for name, kind in {**_MEMBERS, "metrics_config": MetricsConfig}.items() if isinstance(config, kind)
    )
    if member == "metrics_config":
        given: dict[str, Any] = {"metrics_config": config}
    else:
        given = {"replica_config": LLMBaseReplicaControllerConfig(**{member: config})}
    if not path:
        VajraDeployment.from_configs(**given)
        return
    with pytest.raises(ConfigError, match=why) as caught:
        VajraDeployment.from_configs(**given)
    assert caught.value.path == path


_MEMBERS: dict[str, Any] = {
    "model_config": ModelConfig,
    "parallel_config": ParallelConfig,
    "worker_config": WorkerConfig,
    "cache_config": CacheConfig,
    "scheduler_config": (FixedChunkReplicaSchedulerConfig, DynamicChunkReplicaSchedulerConfig),
}


def test_two_values_that_do_not_fit_are_reported_together() -> None:
    with pytest.raises(ConfigErrors) as caught:
        VajraDeployment.from_configs(
            replica_config=LLMBaseReplicaControllerConfig(worker_config=WorkerConfig(gpu_memory_utilization=0.123)),
            prioritizer_config=EdfRequestPrioritizerConfig(min_deadline=0.0001),
        )
    assert len(caught.value.errors) == 2


def test_for_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = VajraDeployment.for_model(
        "smollm2-135m-instruct", max_model_len=2048, num_replicas=2, chunk_size=512, gpu_memory_utilization=0.5
    )
    assert found.spec.model.source.type == "Embedded"
    assert (found.name, found.served_name) == ("smollm2-135m-instruct", "smollm2-135m-instruct")
    assert found.replica_config.model_config == ModelConfig(
        model="smollm2-135m-instruct", dtype="auto", max_model_len=2048
    )
    assert found.replica_config.scheduler_config == FixedChunkReplicaSchedulerConfig(chunk_size=512)
    assert found.replica_set_config.num_replicas == 2
    assert found.spec.worker.gpu_memory_utilization_percent == 50
    assert found.spec.resources.accelerator.type == "CPU"

    hub = VajraDeployment.for_model("Qwen/Qwen3-0.6B", "float32", name="q", served_name="qwen")
    assert (hub.spec.model.source.type, hub.spec.model.name) == ("HuggingFace", "Qwen/Qwen3-0.6B")
    assert (hub.name, hub.served_name, hub.spec.model.dtype) == ("q", "qwen", "Float32")

    bare = VajraDeployment.for_model("gpt2", revision="v1")  # only a hub has revisions
    assert (bare.spec.model.source.type, bare.replica_config.model_config.revision) == ("HuggingFace", "v1")
    with pytest.raises(ConfigError, match=r"spec\.model\.revision: got 'v1'; allowed: only with model.source.type Hug"):
        VajraDeployment.for_model(str(tmp_path), revision="v1")

    folder = tmp_path / "My Model"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for ref in (str(folder), "./My Model", "My Model"):
        local = VajraDeployment.for_model(ref)
        assert local.replica_config.model_config.model == str(folder)
        assert (local.name, local.served_name) == ("my-model", "My Model")

    chosen = VajraDeployment.for_model(
        LLAMA,
        scheduler_config=DynamicChunkReplicaSchedulerConfig(),
        target_batch_time_param=0.02,
        prioritizer_config=LrsRequestPrioritizerConfig(),
        pipeline_parallel_size=2,
    )
    assert chosen.replica_config.scheduler_config == DynamicChunkReplicaSchedulerConfig(target_batch_time_param=0.02)
    assert isinstance(chosen.replica_config, LLMPipelineParallelReplicaControllerConfig)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"chunk_sise": 1}, "chunk_sise: no such option.*did you mean chunk_size?"),
        ({"target_batch_time_param": 0.1}, "no such option"),
        ({"chunk_size": 0}, "chunk_size: got 0"),
        ({"scheduler_config": "FixedChunk"}, "scheduler_config: got 'FixedChunk'"),
        ({"dtype": "int8"}, "ModelConfig.dtype: got 'int8'"),
        ({"name": "Not A Name"}, "metadata.name"),
    ],
)
def test_bad_overrides_are_explained(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VajraDeployment.for_model("m", **overrides)


@pytest.mark.parametrize("ref", ["m", "a/B.C_d", "/", "x/" + "y" * 100, "1/2", "a/---", "a/日本"])
def test_any_model_gets_a_valid_name(ref: str) -> None:
    assert VajraDeployment.for_model(ref).name


def test_what_a_cluster_returns_can_be_read() -> None:
    found = VajraDeployment.from_dict(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "x", "namespace": "n", "uid": "u", "generation": 3, "managedFields": [{}]},
            "spec": {"model": {"name": LLAMA, "revision": None}, "scheduler": None, "podTemplate": None},
            "status": {"readySummary": "1/1"},
        }
    )
    assert found.spec == deployment().spec
    assert found.to_dict(defaults=False)["metadata"] == {"name": "x", "namespace": "n"}


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(deployment().to_yaml())
    assert VajraDeployment.from_yaml(path) == VajraDeployment.from_yaml(str(path)) == deployment()
    (tmp_path / "manifest").write_text(deployment().to_yaml())
    assert VajraDeployment.from_yaml(str(tmp_path / "manifest")) == deployment()
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        VajraDeployment.from_yaml(tmp_path / "none.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        VajraDeployment.from_yaml(path)


def test_the_manifests_of_the_project_are_valid() -> None:
    folder = Path(__file__).parents[2] / "manifests"
    for path in (folder / "smollm2.yaml", *folder.glob("examples/*.yaml")):
        VajraDeployment.from_yaml(path)

"""What this version refuses by name, and what it says that it leaves aside."""

from __future__ import annotations

from typing import Any

import pytest

from vajra.config import API_VERSION, KIND, ConfigError, VajraDeployment, check_supported, local_notices
from vajra.config.options import Scope
from vajra.config.table import Row, leaves


def deployment(**spec: Any) -> VajraDeployment:
    base = {"model": {"name": "m"}, "resources": {"accelerator": {"type": "CPU"}}}
    return VajraDeployment.from_dict(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "x"}, "spec": base | spec}
    )


def refused(**spec: Any) -> list[str]:
    return [fault.path for fault in check_supported(deployment(**spec))]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"replicas": 3, "tokenizerWorkers": 2},
        {"controller": {"type": "Base"}},
        {"worker": {"executionBackend": "Python", "gpuMemoryUtilizationPercent": 50}},
        {"cache": {"blockSize": 64}},
        {"scheduler": {"type": "FixedChunk", "fixedChunk": {"chunkSize": 64}}},
        {"scheduler": {"type": "DynamicChunk", "profile": {"type": "HostPath", "hostPath": {"path": "/p"}}}},
        {"model": {"name": "m", "source": {"type": "Embedded"}, "loadFormat": "Dummy", "overrideNumLayers": 2}},
        {"model": {"name": "m", "source": {"type": "HostPath", "hostPath": {"path": "/m"}}, "dtype": "Auto"}},
        {"drain": {"timeoutSeconds": 1}, "recovery": {"stallTimeoutSeconds": 5}, "networking": {"openAIPort": 80}},
    ],
)
def test_what_is_implemented(spec: dict[str, Any]) -> None:
    assert refused(**spec) == []
    assert local_notices(deployment(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        (
            {"scheduler": {"type": "DynamicChunk", "profile": {"type": "ConfigMap", "configMap": {"name": "p"}}}},
            ["spec.scheduler.profile.type"],
        ),
        (
            {"scheduler": {"type": "DynamicChunk"}, "parallelism": {"tensor": 2}, "metrics": {"mode": "Enabled"}},
            ["spec.parallelism.tensor", "spec.metrics.mode"],
        ),
        ({"controller": {"type": "PipelineParallel"}}, ["spec.controller.type"]),
        ({"parallelism": {"pipeline": 2}}, ["spec.parallelism.pipeline"]),
        ({"parallelism": {"tensor": 2}}, ["spec.parallelism.tensor"]),
        (
            {"parallelism": {"kv": 2, "maxTokensPerKVGroup": 4096}},
            ["spec.parallelism.kv", "spec.parallelism.maxTokensPerKVGroup"],
        ),
        ({"parallelism": {"expert": True}}, ["spec.parallelism.expert"]),
        ({"parallelism": {"sequencePipeline": True}}, ["spec.parallelism.sequencePipeline"]),
        (
            {"parallelism": {"chunkedPipelineCommOptimization": True}},
            ["spec.parallelism.chunkedPipelineCommOptimization"],
        ),
        ({"metrics": {"mode": "Enabled"}}, ["spec.metrics.mode"]),
        ({"metrics": {"gpuOperations": True}}, ["spec.metrics.gpuOperations"]),
        ({"metrics": {"cpuOperations": True}}, ["spec.metrics.cpuOperations"]),
        ({"metrics": {"chromeTrace": True}}, ["spec.metrics.chromeTrace"]),
        ({"metrics": {"individualBatches": True}}, ["spec.metrics.individualBatches"]),
        ({"metrics": {"pngPlots": True}}, ["spec.metrics.pngPlots"]),
        ({"metrics": {"outputDir": "/x"}}, ["spec.metrics.outputDir"]),
        ({"metrics": {"wandb": {"project": "p"}}}, ["spec.metrics.wandb"]),
        ({"networking": {"tls": {"mode": "TLS", "secretName": "s"}}}, ["spec.networking.tls.mode"]),
        (
            {"model": {"name": "m", "source": {"type": "Image", "image": {"reference": "r"}}}},
            ["spec.model.source.type"],
        ),
        ({"replicas": 0}, ["spec.replicas"]),
        ({"resources": {}}, ["spec.resources.accelerator.type"]),
    ],
)
def test_what_is_not_is_refused_by_name(spec: dict[str, Any], paths: list[str]) -> None:
    found = check_supported(deployment(**spec))
    assert [fault.path for fault in found] == paths
    for fault in found:
        assert fault.allowed
        assert fault.hint or fault.path == "spec.replicas"


@pytest.mark.parametrize("in_cluster", [False, True])
@pytest.mark.parametrize("prioritizer", ["FCFS", "EDF", "LRS"])
@pytest.mark.parametrize("scheduler", ["FixedChunk", "DynamicChunk", "SpaceSharing"])
def test_every_scheduler_serves_with_every_prioritizer(scheduler: str, prioritizer: str, in_cluster: bool) -> None:
    spec = {"scheduler": {"type": scheduler}, "prioritizer": {"type": prioritizer}}
    if scheduler == "SpaceSharing" and prioritizer != "LRS":
        with pytest.raises(ConfigError, match=r"spec\.prioritizer\.type: .*LRS with scheduler SpaceSharing"):
            deployment(**spec)
    else:
        assert check_supported(deployment(**spec), in_cluster=in_cluster) == []
        assert local_notices(deployment(**spec)) == []


def test_a_cluster_has_volumes_and_may_rest() -> None:
    claim = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}
    for source in (claim, {"type": "Image", "image": {"reference": "r"}}):
        resting = deployment(model={"name": "m", "source": source}, replicas=0)
        assert check_supported(resting, in_cluster=True) == []
    profile = {"type": "ConfigMap", "configMap": {"name": "p"}}
    assert check_supported(deployment(scheduler={"type": "DynamicChunk", "profile": profile}), in_cluster=True) == []
    (fault,) = check_supported(deployment(metrics={"mode": "Enabled"}), in_cluster=True)
    assert fault.path == "spec.metrics.mode"


def test_an_accelerator_is_what_the_build_has() -> None:
    (fault,) = check_supported(deployment(resources={}))
    assert "got 'GPU'; allowed: CPU; " in str(fault)
    assert "{accelerator: {type: CPU}}" in str(fault)
    (fault,) = check_supported(deployment(resources={}), accelerators=("CPU", "GPU"))
    assert fault.path == "spec.worker.executionBackend"
    torch = deployment(resources={}, worker={"executionBackend": "Python"})
    assert check_supported(torch, accelerators=("CPU", "GPU")) == []


@pytest.mark.parametrize(
    ("spec", "problems"),
    [
        ({"model": {"name": "m", "quantization": "Int8", "dtype": "Auto"}}, []),
        ({"model": {"name": "m", "quantization": "Int8", "dtype": "BFloat16"}}, []),
        ({"model": {"name": "m", "quantization": "Int8"}}, ["None with dtype Float16"]),
        (
            {
                "model": {"name": "m", "quantization": "Int8", "dtype": "Float32"},
                "worker": {"executionBackend": "Python"},
            },
            ["None with dtype Float32", "None with executionBackend Python"],
        ),
    ],
)
def test_int8_weights_need_bfloat16_and_the_native_engine(spec: dict[str, Any], problems: list[str]) -> None:
    faults = check_supported(deployment(**spec))
    assert [fault.path for fault in faults] == ["spec.model.quantization"] * len(problems)
    assert all(problem in str(fault) for fault, problem in zip(faults, problems, strict=True))


def test_quantization_by_name() -> None:
    assert VajraDeployment.for_model("smollm2-135m-instruct").quantization == "none"
    made = VajraDeployment.for_model("smollm2-135m-instruct", quantization="int8")
    assert made.quantization == "int8"
    assert VajraDeployment.from_dict(made.to_dict()) == made
    with pytest.raises(ConfigError, match=r"spec\.model\.quantization"):
        VajraDeployment.for_model("smollm2-135m-instruct", quantization="int4")


CLUSTER: dict[str, tuple[dict[str, Any], list[str]]] = {
    "secret": (
        {"model": {"name": "m", "tokenSecretRef": {"name": "hf"}}},
        ["spec.model.tokenSecretRef is for the cluster's operator and has no effect here: set HF_TOKEN"],
    ),
    "endpoint": (
        {"model": {"name": "m", "source": {"type": "HuggingFace", "huggingFace": {"endpoint": "https://h"}}}},
        ["spec.model.source.huggingFace.endpoint is"],
    ),
    "cache": (
        {"model": {"name": "m", "cache": {"type": "HostPath", "hostPath": {"path": "/c"}}}},
        ["spec.model.cache.type is", "spec.model.cache.hostPath.path is"],
    ),
    "resources": (
        {"resources": {"accelerator": {"type": "CPU"}, "cpu": 4, "memory": "8Gi", "gpusPerPod": 1}},
        ["spec.resources.gpusPerPod is", "spec.resources.cpu is", "spec.resources.memory is"],
    ),
    "placement": (
        {"placement": {"gang": "Kueue", "topology": {"requiredKey": "rack"}}},
        ["spec.placement.gang is", "spec.placement.topology is"],
    ),
    "rollout": ({"rollout": {"maxSurge": 1}}, ["spec.rollout.maxSurge is"]),
    "drain": ({"drain": {"endpointGraceSeconds": 9}}, ["spec.drain.endpointGraceSeconds is"]),
    "networking": (
        {"networking": {"inferencePool": "Enabled", "networkPolicy": "Disabled"}},
        ["spec.networking.inferencePool is", "spec.networking.networkPolicy is"],
    ),
    "autoscaling": (
        {"autoscaling": {"maxReplicas": 4}},
        ["spec.autoscaling is for the cluster's operator and has no effect here: `replicas` is the number"],
    ),
    "suspend": ({"suspend": True}, ["spec.suspend is"]),
    "image": ({"image": "i"}, ["spec.image is"]),
    "podTemplate": ({"podTemplate": {"spec": {"hostIPC": True}}}, ["spec.podTemplate is"]),
}


@pytest.mark.parametrize("case", CLUSTER)
def test_what_only_a_cluster_needs_is_named(case: str) -> None:
    spec, lines = CLUSTER[case]
    found = local_notices(deployment(**spec))
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))
    assert refused(**spec) == []


def _row(row: Row) -> str:
    return row.path


@pytest.mark.parametrize("row", leaves(), ids=_row)
def test_every_option_is_acted_on_refused_or_named(row: Row) -> None:
    """No option is silently without effect: serving acts on it, or it has a closed list, or it is the cluster's."""
    acted_on = {
        "spec.replicas",
        "spec.tokenizerWorkers",
        "spec.model.source.hostPath.path",
        "spec.scheduler.type",
        "spec.scheduler.profile.hostPath.path",
        "spec.prioritizer.type",
        "spec.prioritizer.fairness",
        "spec.prioritizer.relegation",
        "spec.resources.accelerator.type",
        "spec.model.servedName",
        "spec.model.quantization",
        "spec.drain.timeoutSeconds",
        "spec.networking.grpcPort",
        "spec.networking.openAIPort",
    }
    serving = row.path in acted_on or row.path.startswith("spec.recovery.") or row.reference is not None
    assert serving or row.field.option.implemented is not None or row.scope is Scope.CLUSTER or not row.available

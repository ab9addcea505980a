"""What a user is told about a manifest that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from vajra.config import API_VERSION, KIND, ConfigError, VajraDeployment

HEAD = f"apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: x}}\nspec:\n  model: {{name: m}}\n"


def faults(text: str) -> list[str]:
    """Every fault as text."""
    try:
        VajraDeployment.from_yaml(text)
    except ConfigError as error:
        return [str(fault) for fault in error.errors]
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "manifest: is empty; allowed: a mapping with apiVersion: vajra.ai/v1alpha1, kind: VajraDeployment"),
        ("- 1", "manifest: got [1]; allowed: a mapping"),
        ("{", "manifest: not readable as YAML: line 1, column 2"),
        (HEAD + "  model: {name: n}\n", "line 6, column 3: 'model' is given twice, first in line 5"),
        (HEAD + "---\n" + HEAD, "manifest: 2 documents in one; write a file for each"),
        (HEAD + "  podTemplate: &a {spec: *a}\n", "manifest: an alias contains itself"),
        ("a\0b", "manifest: not readable as YAML"),
        (HEAD.replace(API_VERSION, "vajra.ai/v1"), "apiVersion: got 'vajra.ai/v1'; allowed: vajra.ai/v1alpha1"),
        (HEAD.replace(KIND, "Deployment"), "kind: got 'Deployment'; allowed: VajraDeployment"),
        (HEAD.replace(f"kind: {KIND}\n", ""), "kind: a value is required; allowed: VajraDeployment"),
        (
            HEAD + "specs: {}\n",
            "specs: no such field; allowed: apiVersion, kind, metadata, spec, status; did you mean spec?",
        ),
        (
            HEAD.replace("metadata: {name: x}\n", ""),
            "metadata: a value is required; allowed: a mapping with the fields name",
        ),
        (HEAD.replace("name: x", "name: X"), "metadata.name: got 'X'; allowed: at most 40 lower-case letters"),
        (HEAD.replace("name: x", "name: " + 41 * "x"), "metadata.name: got 'xxx"),
        (
            HEAD.replace("name: x", "name: x, labels: {a: 1}"),
            "metadata.labels.a: got 1; allowed: text; put it in quotes",
        ),
        (HEAD.split("spec:")[0] + "spec: {}\n", "spec.model: a value is required"),
        (HEAD.split("spec:")[0] + "spec: 3\n", "spec: got 3; allowed: a mapping with the fields replicas"),
        (HEAD.split("spec:")[0], "spec: a value is required"),
        (HEAD + "  1: 2\n", "spec: the key 1 is not text"),
        (HEAD + "  on: 2\n", "YAML reads on, off, yes and no as true and false"),
        (HEAD + "  replica: 2\n", "spec.replica: no such field; "),
    ],
)
def test_around_the_spec(text: str, expected: str) -> None:
    (fault,) = faults(text)
    assert expected in fault


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "scheduler: FixedChunk",
            "spec.scheduler: got 'FixedChunk'; allowed: a mapping with the fields type, fixedChunk",
        ),
        ("scheduler: {fixedChunk: {}}", "spec.scheduler.type: a value is required; allowed: one of FixedChunk"),
        (
            "scheduler: {type: fixed_chunk}",
            "spec.scheduler.type: got 'fixed_chunk'; .*did you mean FixedChunk?",
        ),
        (
            "scheduler: {type: FixedChunk, fixedChunk: {chunksize: 7}}",
            "spec.scheduler.fixedChunk.chunksize: no such field; .*did you mean chunkSize?",
        ),
        (
            "scheduler: {type: FixedChunk, fixedChunk: {chunk_size: 7}}",
            "spec.scheduler.fixedChunk.chunk_size: no such field; .*did you mean chunkSize?",
        ),
        (
            "scheduler: {type: FixedChunk, fixedChunk: {chunkSize: 0}}",
            "spec.scheduler.fixedChunk.chunkSize: got 0; allowed: an integer from 1 to 1048576",
        ),
        ("scheduler: {type: FixedChunk, fixedChunk: {chunkSize: 2e3}}", "got '2e3'; allowed: an integer"),
        ("scheduler: {type: FixedChunk, fixedChunk: {chunkSize: 512.0}}", "got 512.0; allowed: an integer"),
        ("scheduler: {type: FixedChunk, fixedChunk: {chunkSize: yes}}", "got True; allowed: an integer"),
        (
            "scheduler: {type: FixedChunk, dynamicChunk: {}}",
            "spec.scheduler.dynamicChunk: is set; allowed: only with type DynamicChunk; the type here is FixedChunk",
        ),
        (
            "scheduler: {type: DynamicChunk, dynamicChunk: {minChunkTokens: 64, maxChunkTokens: 32}}",
            "spec.scheduler.dynamicChunk.minChunkTokens: got 64; allowed: at most maxChunkTokens",
        ),
        (
            "scheduler: {type: DynamicChunk, dynamicChunk: {maxChunkTokens: 31}}",
            "minChunkTokens: got 32; allowed: at most maxChunkTokens",
        ),
        (
            "scheduler: {type: SpaceSharing}",
            "spec.prioritizer.type: got 'FCFS'; allowed: LRS with scheduler SpaceSharing",
        ),
        (
            "scheduler: {type: DynamicChunk, profile: {type: ConfigMap}}",
            "spec.scheduler.profile.configMap: a value is required; .*type ConfigMap needs it",
        ),
        ("prioritizer: {type: FCFS, edf: {}}", "spec.prioritizer.edf: is set; allowed: only with type EDF"),
        (
            "prioritizer: {type: EDF, edf: {deadlineMultiplier: 1.5}}",
            "no such field; .*did you mean deadlineMultiplierPercent?",
        ),
        (
            "controller: {type: Base}\n  parallelism: {pipeline: 2}",
            "spec.controller.type: got 'Base'; allowed: Auto or PipelineParallel",
        ),
        (
            "parallelism: {kv: 2}",
            "spec.parallelism.maxTokensPerKVGroup: got 0; allowed: with parallelism.kv above 1 a multiple",
        ),
        ("parallelism: {kv: 2, maxTokensPerKVGroup: 16}", "spec.parallelism.maxTokensPerKVGroup: got 16"),
        (
            "parallelism: {kv: 2, maxTokensPerKVGroup: 1000}\n  cache: {blockSize: 64}",
            "spec.parallelism.maxTokensPerKVGroup: got 1000",
        ),
        ("cache: {blockSize: 12}", "spec.cache.blockSize: got 12; allowed: one of 8, 16, 32, 64, 128"),
        (
            "worker: {gpuMemoryUtilizationPercent: 0.8}",
            "spec.worker.gpuMemoryUtilizationPercent: got 0.8; allowed: an integer from 1 to 100",
        ),
        ("worker: {executionBackend: native}", "got 'native'; allowed: one of Native, Python; did you mean Native?"),
        (
            "resources: {gpusPerPod: 8}\n  parallelism: {tensor: 4}",
            "spec.resources.gpusPerPod: got 8; allowed: a divisor of tensor x pipeline x kv",
        ),
        (
            "resources: {gpusPerPod: 6}\n  parallelism: {tensor: 4, pipeline: 3}",
            "spec.resources.gpusPerPod: got 6; allowed: a divisor or a multiple of parallelism.tensor",
        ),
        (
            "resources: {memory: 16GB}",
            "spec.resources.memory: got '16GB'; allowed: a Kubernetes quantity, such as 4, 500m or 16Gi",
        ),
        ("resources: {cpu: -1}", "spec.resources.cpu: got -1; allowed: a Kubernetes quantity"),
        (
            "resources: {accelerator: {type: TPU}}",
            "spec.resources.accelerator.type: got 'TPU'; allowed: one of GPU, CPU",
        ),
        ("rollout: {maxUnavailable: 0}", "spec.rollout.maxUnavailable: got 0; allowed: above 0 when maxSurge is 0"),
        (
            "recovery: {backoffMaxSeconds: 5}",
            "spec.recovery.backoffMaxSeconds: got 5; allowed: at least backoffBaseSeconds",
        ),
        ("networking: {tls: {mode: MutualTLS}}", "spec.networking.tls.secretName: a value is required"),
        (
            "networking: {tls: {secretName: s}}",
            "spec.networking.tls.secretName: got 's'; allowed: only with networking.tls.mode TLS or MutualTLS; .*"
            "set the mode too, or leave the secret out",
        ),
        (
            "networking: {tls: {mode: Disabled, secretName: s}}",
            "spec.networking.tls.secretName: got 's'; allowed: only with networking.tls.mode TLS or MutualTLS",
        ),
        (
            "placement: {gang: Native, queueName: q}",
            "spec.placement.queueName: got 'q'; allowed: only with placement.gang Auto, Kueue or Volcano",
        ),
        (
            "resources: {accelerator: {type: CPU}, claimTemplateName: c}",
            "spec.resources.claimTemplateName: got 'c'; allowed: only with resources.accelerator.type GPU",
        ),
        ("networking: {openAIPort: 8471}", "spec.networking.openAIPort: got 8471; allowed: another port than grpcPort"),
        ("autoscaling: {}", "spec.autoscaling.maxReplicas: a value is required"),
        (
            "autoscaling: {minReplicas: 3, maxReplicas: 2}",
            "spec.autoscaling.minReplicas: got 3; allowed: at most maxReplicas",
        ),
        ("podTemplate: 3", "spec.podTemplate: got 3; allowed: a mapping"),
        (
            "podTemplate: {spce: {}}",
            "spec.podTemplate.spce: no such field; allowed: metadata, spec; did you mean spec?",
        ),
        ("podTemplate: {metadata: {name: a}}", "spec.podTemplate.metadata.name: no such field"),
        ("podTemplate: {metadata: {labels: {a: 1}}}", "spec.podTemplate.metadata.labels: got {'a': 1}"),
        ("podTemplate: {spec: {containers: {}}}", "spec.podTemplate.spec.containers: got {}; allowed: a list"),
        (
            "podTemplate: {spec: {containers: [{env: []}]}}",
            "spec.podTemplate.spec.containers[0].name: a value is required",
        ),
        ("podTemplate: {spec: {containers: [{name: a}, {name: a}]}}", "containers[1].name: 'a' is given twice"),
    ],
)
def test_in_the_spec(spec: str, expected: str) -> None:
    (fault,) = faults(f"{HEAD}  {spec}\n")
    assert all(part in fault for part in expected.split(".*"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{}", "spec.model.name: a value is required"),
        ("{name: 7}", "spec.model.name: got 7; allowed: text of 1 to 512 characters"),
        ("{name: /models/m}", "for a folder set source: {type: HostPath, hostPath: {path: /the/folder}}"),
        ("{name: m, source: {type: HostPath}}", "spec.model.source.hostPath: a value is required"),
        ("{name: m, source: {type: Image}}", "spec.model.source.image: a value is required"),
        ("{name: m, source: {type: PersistentVolumeClaim}}", "spec.model.source.persistentVolumeClaim: a value is"),
        ("{name: m, source: {type: HostPath, hostPath: {path: a}}}", "got 'a'; allowed: an absolute path"),
        (
            "{name: m, source: {type: Embedded, huggingFace: {}}}",
            "only with type HuggingFace; the type here is Embedded",
        ),
        (
            "{name: m, revision: main, source: {type: Embedded}}",
            "spec.model.revision: got 'main'; allowed: only with model.source.type HuggingFace",
        ),
        (
            "{name: m, tokenSecretRef: {name: s}, source: {type: HostPath, hostPath: {path: /m}}}",
            "spec.model.tokenSecretRef: got .*allowed: only with model.source.type HuggingFace",
        ),
        ("{name: m, cache: {type: PersistentVolumeClaim}}", "spec.model.cache.persistentVolumeClaim: a value is"),
        (
            "{name: m, dtype: float16}",
            "got 'float16'; allowed: one of Float16, BFloat16, Float32, Auto; did you mean Float16",
        ),
        ("{name: m, max_model_len: 1}", "spec.model.max_model_len: no such field; .*did you mean maxModelLen?"),
    ],
)
def test_in_the_model(model: str, expected: str) -> None:
    (fault,) = faults(HEAD.replace("{name: m}", model))
    assert all(part in fault for part in expected.split(".*"))


def test_every_fault_is_reported_at_once() -> None:
    found = faults(HEAD + "  replicas: -1\n  cache: {blockSize: 7}\n  worker: {gpuMemory: 1}\n  scheduler: {type: X}\n")
    assert [fault.split(":")[0] for fault in found] == [
        "spec.replicas",
        "spec.worker.gpuMemory",
        "spec.cache.blockSize",
        "spec.scheduler.type",
    ]
    broken = faults(HEAD + "  rollout: {maxUnavailable: 0}\n  scheduler: {type: SpaceSharing, fixedChunk: {}}\n")
    assert len(broken) == 3


@pytest.mark.parametrize("value", [None, 3, [], "x", b"x"])
def test_data_that_is_no_manifest(value: Any) -> None:
    with pytest.raises(ConfigError, match="manifest: "):
        VajraDeployment.from_dict(value)


def test_rules_hold_for_python_too() -> None:
    found = VajraDeployment.from_yaml(HEAD)
    spec = type(found.spec)(model=found.spec.model, scheduler=type(found.spec.scheduler)(type="SpaceSharing"))
    with pytest.raises(ConfigError, match=r"spec\.prioritizer\.type: got 'FCFS'"):
        VajraDeployment(metadata=found.metadata, spec=spec)


def test_a_setting_that_something_reads_is_welcome() -> None:
    manifest = HEAD.replace("{name: m}", "{name: o/m, revision: main, tokenSecretRef: {name: s}}")
    spec = VajraDeployment.from_yaml(
        manifest
        + "  networking: {tls: {mode: TLS, secretName: s}}\n"
        + "  placement: {queueName: q}\n  resources: {claimTemplateName: c}\n"
    ).spec
    assert (spec.networking.tls.secret_name, spec.placement.queue_name) == ("s", "q")

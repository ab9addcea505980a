"""The API server and vajra.config take the same manifests: field by field, and all fields together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.cluster.deployments import MODEL, Admission, RefusedError, manifest, merged, nested
from tests.config.strategies import wild_specs

from vajra.config import ConfigError, VajraDeployment, VajraDeploymentSpec
from vajra.config.fields import ConfigField
from vajra.config.table import Row, leaves

# What must stand beside a field for the rest of the spec to be valid.
BESIDE: dict[str, dict[str, Any]] = {
    "spec.controller.type": {"parallelism": {"pipeline": 2}},
    "spec.model.source.type": {"model": {"source": {"type": "Embedded"}}},
    "spec.model.source.huggingFace": {"model": {"source": {"type": "HuggingFace"}}},
    "spec.model.source.hostPath": {"model": {"source": {"type": "HostPath"}}},
    "spec.model.source.persistentVolumeClaim": {
        "model": {"source": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}}
    },
    "spec.model.source.image": {"model": {"source": {"type": "Image", "image": {"reference": "r"}}}},
    "spec.model.tokenSecretRef": {"model": {"tokenSecretRef": {"name": "s"}}},
    "spec.model.cache.emptyDir": {"model": {"cache": {"type": "EmptyDir"}}},
    "spec.model.cache.persistentVolumeClaim": {
        "model": {"cache": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}}
    },
    "spec.model.cache.hostPath": {"model": {"cache": {"type": "HostPath"}}},
    "spec.prioritizer.fairness": {"prioritizer": {"type": "FCFS"}},
    "spec.prioritizer.relegation": {"prioritizer": {"type": "FCFS"}},
    "spec.networking.apiKeysSecretRef": {"networking": {"apiKeysSecretRef": {"name": "s"}}},
    "spec.parallelism.kv": {"parallelism": {"maxTokensPerKVGroup": 32}},
    "spec.scheduler.fixedChunk": {"scheduler": {"type": "FixedChunk"}},
    "spec.scheduler.dynamicChunk": {"scheduler": {"type": "DynamicChunk", "dynamicChunk": {"minChunkTokens": 1}}},
    "spec.scheduler.dynamicChunk.minChunkTokens": {"scheduler": {"dynamicChunk": {"maxChunkTokens": 1048576}}},
    "spec.scheduler.spaceSharing": {
        "scheduler": {"type": "SpaceSharing", "spaceSharing": {"minChunkTokens": 1}},
        "prioritizer": {"type": "LRS"},
    },
    "spec.scheduler.spaceSharing.minChunkTokens": {"scheduler": {"spaceSharing": {"maxChunkTokens": 1048576}}},
    "spec.scheduler.profile": {"scheduler": {"type": "FixedChunk"}},
    "spec.scheduler.profile.hostPath": {"scheduler": {"profile": {"type": "HostPath"}}},
    "spec.scheduler.profile.configMap": {"scheduler": {"profile": {"type": "ConfigMap", "configMap": {"name": "c"}}}},
    "spec.prioritizer.edf": {"prioritizer": {"type": "EDF"}},
    "spec.prioritizer.lrs": {"prioritizer": {"type": "LRS"}},
    "spec.metrics.wandb": {"metrics": {"wandb": {"project": "p"}}},
    "spec.metrics.wandb.apiKeySecretRef": {"metrics": {"wandb": {"apiKeySecretRef": {"name": "s"}}}},
    "spec.resources.gpusPerPod": {"parallelism": {"tensor": 64}},
    "spec.rollout.maxUnavailable": {"rollout": {"maxSurge": 1}},
    "spec.recovery.backoffBaseSeconds": {"recovery": {"backoffMaxSeconds": 86400}},
    "spec.recovery.backoffMaxSeconds": {"recovery": {"backoffBaseSeconds": 1}},
    "spec.networking.tls.mode": {"networking": {"tls": {"secretName": "s"}}},
    "spec.networking.tls.secretName": {"networking": {"tls": {"mode": "TLS"}}},
    "spec.autoscaling": {"autoscaling": {"maxReplicas": 10000}},
    "spec.autoscaling.maxReplicas": {"autoscaling": {"minReplicas": 0}},
}
# Values of which the API server refuses no less than one and vajra.config exactly the same ones.
POD_TEMPLATES: tuple[Any, ...] = (
    {},
    [],
    {"spec": {}},
    {"spec": []},
    {"spec": {"nodeSelector": {"a": "b"}, "containers": []}},
    {"spec": {"containers": {}}},
    {"spec": {"containers": ["worker"]}},
    {"spec": {"containers": [None]}},
    {"spec": {"containers": [{"name": None}]}},
    {"spec": {"containers": [{"name": ""}]}},
    {"spec": {"containers": [{"name": 1}]}},
    {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}},
    {"spec": {"containers": [{"name": "a", "env": None}, {"name": "b"}]}},
    {"spec": {"containers": None}},
    {"metadata": None},
    {"metadata": {"labels": {"a": 1}}},
    {"metadata": {"labels": {"a": None}}},
    {"metadata": {"annotations": ["a"]}},
    {"metadata": {"finalizers": []}},
    {"template": {}},
)


def values(field: ConfigField) -> tuple[Any, ...]:
    """What may and what may not stand in a field: its limits, one step beyond, other types, nothing at all."""
    limits = field.limits
    odd: tuple[Any, ...] = (None, True, False, 1, 1.5, "", "x", "/x", "https://x", [], {})
    if field.key == "podTemplate":
        return POD_TEMPLATES
    if field.type is int:
        low, high = limits["ge"], limits["le"]
        return (*odd, low - 1, low, high, high + 1, str(low))
    if field.type is str and "max_length" in limits:
        prefix = "https://" if limits.get("pattern", "").startswith("^https") else "/"
        longest = prefix.ljust(limits["max_length"], "ü")
        return (*odd, longest, f"{longest}ü")
    if field.choices:
        return (*odd, *field.choices, str(field.choices[0]).lower(), "nonsense")
    if field.is_quantity:
        return (*odd, 0, -1, 10**9, "0", "500m", "1.5", "1.", "1e3", "2E-1", "16Gi", "16GiB", "16 Gi", "-1", "+1", "Gi")
    return odd


def taken(admission: Admission, spec: Any) -> dict[str, Any] | str:
    """The object that the API server would store, or why it does not."""
    try:
        return admission.admitted(spec)
    except RefusedError as refused:
        return str(refused)


def meaning(found: dict[str, Any]) -> VajraDeploymentSpec | str:
    """What vajra.config reads in a manifest, or why it refuses it."""
    try:
        return VajraDeployment.from_dict(found).spec
    except ConfigError as error:
        return str(error)


def taken_by_both(admission: Admission, spec: Any) -> bool:
    """Whether a spec is accepted. Fails where the API server and vajra.config differ."""
    meant = meaning(manifest(spec))
    stored = taken(admission, spec)
    if isinstance(stored, str):
        assert isinstance(meant, str), f"only the API server refuses {spec}: {stored}"
        return False
    assert meant == meaning(stored), f"the API server takes {spec}"
    return True


@pytest.mark.parametrize("row", leaves(), ids=lambda row: row.path)
def test_each_field(admission: Admission, row: Row) -> None:
    beside = [needed for path, needed in BESIDE.items() if f"{row.path}.".startswith(f"{path}.")]
    around = merged({"model": MODEL}, *beside)
    verdicts = {taken_by_both(admission, merged(around, nested(row.path, value))) for value in values(row.field)}
    assert verdicts == {True, False}


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(spec=wild_specs())
def test_all_fields_together(admission: Admission, spec: dict[str, Any]) -> None:
    taken_by_both(admission, spec)

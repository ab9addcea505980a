"""What the API server makes of a VajraDeployment: defaults, what it refuses and why, and its subresources."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.deployments import MODEL, Admission, manifest, merged, nested

from vajra.config import ConfigError, VajraDeployment, VajraDeploymentSpec
from vajra.config.fields import fields_of
from vajra.config.rules import RULES, Rule
from vajra.config.spec.unions import Union
from vajra.config.table import Row, row_by_path, rows
from vajra.config.validation import validate


def without_members(section: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Plain data of a section without the members of its unions, which an object has only when they were written."""
    kept = {}
    for field in fields_of(type(section)):
        member = isinstance(section, Union) and field.name in section.members.values()
        if field.key in data and not member:
            value = data[field.key]
            kept[field.key] = without_members(getattr(section, field.name), value) if field.nested else value
    return kept


def test_the_stored_object_shows_every_default(admission: Admission) -> None:
    stored = admission.admitted({"model": MODEL})
    meant = VajraDeployment.from_dict(manifest({"model": MODEL}))
    assert stored["spec"] == without_members(meant.spec, meant.to_dict()["spec"])
    assert VajraDeployment.from_dict(stored).spec == meant.spec


@pytest.mark.parametrize(
    "spec",
    [
        {"scheduler": {"type": "DynamicChunk"}},
        {"scheduler": {"type": "DynamicChunk", "dynamicChunk": {"targetBatchTimeMilliseconds": 20}}},
        {"scheduler": {"type": "SpaceSharing", "spaceSharing": {}}, "prioritizer": {"type": "LRS"}},
        {"parallelism": {"pipeline": 2}},
        {"parallelism": {"pipeline": 2}, "controller": {"type": "PipelineParallel"}},
        {"parallelism": {"kv": 2, "maxTokensPerKVGroup": 262144}},
        {"parallelism": {"tensor": 8, "pipeline": 2}, "resources": {"gpusPerPod": 8}},
        {"parallelism": {"tensor": 8}, "resources": {"gpusPerPod": 4}},
        {"networking": {"tls": {"mode": "TLS", "secretName": "s"}}},
        {"rollout": {"maxSurge": 1, "maxUnavailable": 0}},
        {"autoscaling": {"maxReplicas": 3}},
        {"metrics": {"wandb": {"project": "p"}}},
        {"resources": {"cpu": 4, "memory": "16Gi", "accelerator": {"type": "CPU"}}},
        {"podTemplate": {"spec": {"hostIPC": True, "containers": [{"name": "worker", "env": [{"name": "A"}]}]}}},
        {"podTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}},
    ],
    ids=str,
)
def test_what_passes_means_the_same_to_both(admission: Admission, spec: dict[str, Any]) -> None:
    spec = {"model": MODEL} | spec
    stored = admission.admitted(spec)
    assert VajraDeployment.from_dict(stored).spec == VajraDeployment.from_dict(manifest(spec)).spec
    kept = stored["spec"].get("podTemplate")
    assert kept == spec.get("podTemplate")


@pytest.mark.parametrize("prioritizer", ["FCFS", "EDF", "LRS"])
@pytest.mark.parametrize("scheduler", ["FixedChunk", "DynamicChunk", "SpaceSharing"])
def test_every_scheduler_goes_with_every_prioritizer_but_space_sharing(
    admission: Admission, scheduler: str, prioritizer: str
) -> None:
    spec = {"model": MODEL, "scheduler": {"type": scheduler}, "prioritizer": {"type": prioritizer}}
    if scheduler == "SpaceSharing" and prioritizer != "LRS":
        (fault,) = admission.refusal(spec).faults
        assert (fault.path, fault.reason) == ("spec.prioritizer.type", "FieldValueInvalid")
    else:
        stored = admission.admitted(spec)["spec"]
        assert (stored["scheduler"]["type"], stored["prioritizer"]["type"]) == (scheduler, prioritizer)


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({}, "spec.model", "Required value"),
        ({"model": {}}, "spec.model.name", "Required value"),
        ({"model": {"name": ""}}, "spec.model.name", "should be at least 1 chars long"),
        ({"scheduler": {}}, "spec.scheduler.type", "Required value"),
        ({"scheduler": {"type": "fixed_chunk"}}, "spec.scheduler.type", '"FixedChunk", "DynamicChunk", "SpaceSharing"'),
        ({"worker": {"gpuMemoryUtilizationPercent": 0.8}}, "spec.worker.gpuMemoryUtilizationPercent", "integer"),
        ({"cache": {"blockSize": 24}}, "spec.cache.blockSize", "supported values"),
        ({"replicas": -1}, "spec.replicas", "greater than or equal to 0"),
        ({"resources": {"memory": "16 GiB"}}, "spec.resources.memory", "should match"),
        ({"autoscaling": {}}, "spec.autoscaling.maxReplicas", "Required value"),
        ({"podTemplate": {"spec": {"containers": [{"env": []}]}}}, "spec.podTemplate.spec.containers[0].name", "Requi"),
        (
            {"podTemplate": {"spec": {"containers": [{"name": "worker"}, {"name": "worker"}]}}},
            "spec.podTemplate.spec.containers[1]",
            "Duplicate value",
        ),
    ],
    ids=str,
)
def test_a_value_out_of_its_limits_is_refused(
    admission: Admission, spec: dict[str, Any], path: str, message: str
) -> None:
    spec = spec if "model" in spec or not spec else {"model": MODEL} | spec
    faults = admission.refusal(spec).faults
    assert any(fault.path == path and message in fault.message for fault in faults), faults


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"scheduler": {"type": "FixedChunk", "fixedChunk": {"chunksize": 1}}}, "spec.scheduler.fixedChunk.chunksize"),
        ({"podTemplate": {"metadata": {"name": "x"}}}, "spec.podTemplate.metadata.name"),
        ({"podTemplate": {"containers": []}}, "spec.podTemplate.containers"),
    ],
)
def test_an_unknown_field_is_refused_by_name(admission: Admission, spec: dict[str, Any], field: str) -> None:
    assert f'unknown field "{field}"' in str(admission.refusal({"model": MODEL} | spec))


# For every rule a spec that breaks it, and if it can no other.
BREAKING: tuple[dict[str, Any], ...] = (
    {"scheduler": {"type": "DynamicChunk", "dynamicChunk": {"minChunkTokens": 64, "maxChunkTokens": 32}}},
    {
        "scheduler": {"type": "SpaceSharing", "spaceSharing": {"minChunkTokens": 8193}},
        "prioritizer": {"type": "LRS"},
    },
    {"scheduler": {"type": "SpaceSharing"}},
    {"scheduler": {"type": "SpaceSharing"}, "prioritizer": {"type": "EDF"}},
    {"parallelism": {"pipeline": 2}, "controller": {"type": "Base"}},
    {"parallelism": {"kv": 2}},
    {"parallelism": {"kv": 2, "maxTokensPerKVGroup": 16}},
    {"parallelism": {"kv": 2, "maxTokensPerKVGroup": 1000}, "cache": {"blockSize": 64}},
    {"parallelism": {"tensor": 4}, "resources": {"gpusPerPod": 8}},
    {"parallelism": {"tensor": 4, "pipeline": 3}, "resources": {"gpusPerPod": 6}},
    {"rollout": {"maxUnavailable": 0}},
    {"recovery": {"backoffBaseSeconds": 601}},
    {"networking": {"tls": {"mode": "MutualTLS"}}},
    {"networking": {"tls": {"secretName": "s"}}},
    {"model": MODEL | {"revision": "main", "source": {"type": "Embedded"}}},
    {"model": MODEL | {"tokenSecretRef": {"name": "s"}, "source": {"type": "HostPath", "hostPath": {"path": "/m"}}}},
    {"placement": {"gang": "Native", "queueName": "q"}},
    {"resources": {"accelerator": {"type": "CPU"}, "claimTemplateName": "c"}},
    {"networking": {"openAIPort": 8471}},
    {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
    {"model": {"name": "/models/llama"}},
    {"model": {"name": "./llama"}},
    {"model": {"name": "../llama"}},
    {"model": {"name": "~/llama"}},
)


def broken(spec: dict[str, Any]) -> list[Rule]:
    """The rules that a spec does not keep, by their Python halves."""
    parsed = validate(VajraDeploymentSpec, spec, "spec", manifest=True)
    return [rule for rule in RULES if not rule.holds(parsed)]


def test_there_is_a_spec_that_breaks_each_rule_alone() -> None:
    assert {rule for spec in BREAKING for rule in broken({"model": MODEL} | spec)} == set(RULES)
    assert all(len(broken({"model": MODEL} | spec)) == 1 for spec in BREAKING)


@pytest.mark.parametrize("spec", BREAKING, ids=str)
def test_a_broken_rule_is_explained_where_it_is_broken(admission: Admission, spec: dict[str, Any]) -> None:
    spec = {"model": MODEL} | spec
    (rule,) = broken(spec)
    (fault,) = admission.refusal(spec).faults
    assert (fault.path, fault.reason) == (rule.path, rule.reason)
    assert rule.allowed in fault.message
    assert rule.hint in fault.message
    with pytest.raises(ConfigError) as caught:
        VajraDeployment.from_dict(manifest(spec))
    assert caught.value.path == fault.path


UNIONS = [row for row in rows() if row.field.nested and issubclass(row.field.nested, Union)]
MEMBERS = [(union, kind) for union in UNIONS for kind in union.field.nested.members]  # type: ignore[union-attr]
WRITTEN: dict[str, Any] = {"HostPath": {"path": "/x"}, "PersistentVolumeClaim": {"claimName": "c"}}
WRITTEN |= {"Image": {"reference": "r"}, "ConfigMap": {"name": "c"}}


def union_spec(union: Row, **written: Any) -> dict[str, Any]:
    """A spec with a union as given, and what must stand beside it."""
    beside = {"prioritizer": {"type": "LRS"}} if written.get("type") == "SpaceSharing" else {}
    around = {"scheduler": {"type": "FixedChunk"}} if union.path.startswith("spec.scheduler.") else {}
    return merged({"model": MODEL}, beside, around, nested(union.path, written))


@pytest.mark.parametrize(("union", "kind"), MEMBERS, ids=lambda part: getattr(part, "path", part))
def test_a_member_may_stand_only_beside_its_type(admission: Admission, union: Row, kind: str) -> None:
    cls: Any = union.field.nested
    key = next(field.key for field in fields_of(cls) if field.name == cls.members[kind])
    member = WRITTEN.get(kind, {})
    admission.admitted(union_spec(union, **{"type": kind, key: member}))

    types = row_by_path()[f"{union.path}.type"].field.choices
    other = next(found for found in types if found != kind)
    faults = admission.refusal(union_spec(union, **{"type": other, key: member})).faults
    (message,) = (found.message for found in faults if found.path == f"{union.path}.{key}")
    assert f"only with type {kind}: set that type, or take {key} away" in message

    if kind in cls.needed:
        (fault,) = admission.refusal(union_spec(union, type=kind)).faults
        assert (fault.path, fault.reason) == (f"{union.path}.{key}", "FieldValueRequired")
        assert f"type {kind} needs it" in fault.message
    else:
        admission.admitted(union_spec(union, type=kind))


@pytest.mark.parametrize("name", ["a" * 40, "a", "a-1"])
def test_a_name_that_pods_can_derive_theirs_from(admission: Admission, name: str) -> None:
    assert admission.admitted({"model": MODEL}, name)["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["a" * 41, "1a", "a.b"])
def test_other_names_are_refused(admission: Admission, name: str) -> None:
    (fault,) = admission.refusal({"model": MODEL}, name).faults
    assert fault.path == "metadata.name"
    assert "at most 40 lower-case letters, digits and hyphens" in fault.message
    with pytest.raises(ConfigError, match=r"metadata\.name"):
        VajraDeployment.from_dict(manifest({"model": MODEL}, name))

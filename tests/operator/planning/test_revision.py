"""A revision's name: what changes it, what does not, and that no later version of the operator names it otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.config.strategies import manifests
from tests.operator.planning.cluster import minimal_spec, parallel_spec

from vajra.config import API_VERSION, KIND, Change, VajraDeployment, VajraDeploymentSpec, changed_fields
from vajra.operator.planning.revision import recreate_part, revision_of, with_live_part


def read(spec: dict[str, Any]) -> VajraDeploymentSpec:
    head = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "llama"}}
    return VajraDeployment.from_dict({**head, "spec": spec}).spec


# A change of one of these rolls the pods of everybody who upgrades the operator. When a new field does it, its default
# is not what `revision_of` takes for it; when a default has changed, give specs of before a way to keep their name.
GOLDEN: list[tuple[str, dict[str, Any], str]] = [
    ("hub", {"model": {"name": "meta-llama/Llama-2-7b-chat-hf"}}, "v1-879ce7cca6e5"),
    ("embedded", minimal_spec(), "v1-8d2c71de6d1a"),
    ("parallel", parallel_spec(), "v1-c645efbda000"),
    (
        "everything",
        {
            "model": {
                "name": "org/model",
                "revision": "main",
                "dtype": "BFloat16",
                "maxModelLen": 8192,
                "tokenSecretRef": {"name": "hub"},
                "source": {"type": "HuggingFace", "huggingFace": {"endpoint": "https://hub.local"}},
                "cache": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "cache"}},
            },
            "worker": {"gpuMemoryUtilizationPercent": 90},
            "cache": {"blockSize": 64},
            "resources": {"cpu": 4, "memory": "16Gi", "gpusPerPod": 1},
            "placement": {"topology": {"preferredKey": "rack"}},
            "networking": {"grpcPort": 9000, "openAIPort": 8000},
            "image": "registry.example/vajra:1",
            "podTemplate": {"spec": {"nodeSelector": {"pool": "a"}}},
        },
        "v1-a8a0b06e657d",
    ),
]


@pytest.mark.parametrize(("spec", "name"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_a_spec_keeps_its_name_for_ever(spec: dict[str, Any], name: str) -> None:
    assert revision_of(read(spec)).name == name


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(manifests(), manifests())
def test_the_name_tells_whether_pods_would_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A spec with the live settings of another has its own name; any change of class Recreate gives another."""
    mine, theirs = VajraDeployment.from_dict(one).spec, VajraDeployment.from_dict(other).spec
    try:
        mixed = read(with_live_part(recreate_part(mine), theirs))
    except ValueError:
        return  # the two break a rule together
    assert revision_of(mixed) == revision_of(mine)
    recreates = [change.path for change in changed_fields(mine, theirs) if change.change is Change.RECREATE]
    assert (revision_of(mine) == revision_of(theirs)) == (not recreates)
    assert not [change for change in changed_fields(mixed, theirs) if change.change is Change.LIVE]


@pytest.mark.parametrize(
    "written",
    [
        {"cache": {"blockSize": 16}},
        {"parallelism": {}, "networking": {"tls": {"mode": "Disabled"}}},
        {"replicas": 7, "drain": {"timeoutSeconds": 1}, "suspend": True},
        {"scheduler": {"type": "FixedChunk", "fixedChunk": {"chunkSize": 1}}, "tokenizerWorkers": 3},
        {"scheduler": {"type": "SpaceSharing", "profile": {"type": "Auto"}}, "prioritizer": {"type": "LRS"}},
    ],
)
def test_defaults_and_live_settings_are_not_in_the_name(written: dict[str, Any]) -> None:
    spec = {"model": {"name": "m"}}
    assert revision_of(read(spec | written)) == revision_of(read(spec))


def test_a_revision_holds_the_profile_and_not_the_scheduler() -> None:
    profile = {"type": "ConfigMap", "configMap": {"name": "times", "key": "profile.json"}}
    dynamic = {"type": "DynamicChunk", "dynamicChunk": {"minChunkTokens": 64}, "profile": profile}
    named = read(minimal_spec(scheduler=dynamic))
    assert recreate_part(named) == recreate_part(
        read(minimal_spec(scheduler={"type": "FixedChunk", "profile": profile}))
    )
    assert revision_of(read(recreate_part(named))) == revision_of(named) != revision_of(read(minimal_spec()))
    theirs = read(minimal_spec(scheduler={"type": "SpaceSharing"}, prioritizer={"type": "LRS"}))
    mixed = read(with_live_part(recreate_part(named), theirs))
    assert (mixed.scheduler.type, mixed.scheduler.space_sharing) == ("SpaceSharing", theirs.scheduler.space_sharing)
    assert (mixed.scheduler.fixed_chunk, mixed.scheduler.dynamic_chunk) == (None, None)
    assert mixed.scheduler.profile == named.scheduler.profile


def test_a_name_is_fit_for_labels_and_files() -> None:
    revision = revision_of(read(minimal_spec()))
    assert revision.hash.startswith("v1:")
    assert revision.name == "v1-" + revision.hash.removeprefix("v1:")[:12]

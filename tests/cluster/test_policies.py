"""manifests/policies: what a cluster's owner may want to forbid is forbidden, and only that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.deployments import Deployments, RefusedError, manifest
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import eventually

FOLDER = Path(__file__).parents[2] / "manifests" / "policies"


def model(name: str = "Qwen/Qwen3-8B", **fields: Any) -> dict[str, Any]:
    return {"model": {"name": name, **fields}}


def pod(**spec: Any) -> dict[str, Any]:
    return model() | {"podTemplate": {"spec": spec}}


def from_folder(path: str, **fields: Any) -> dict[str, Any]:
    return model(source={"type": "HostPath", "hostPath": {"path": path}}, **fields)


def from_image(reference: str) -> dict[str, Any]:
    return model(source={"type": "Image", "image": {"reference": reference}})


LLAMA = "meta-llama/Llama-2-7b-chat-hf"
OTHER_HUB = {"type": "HuggingFace", "huggingFace": {"endpoint": "https://hub.example.com"}}
ALLOWED: dict[str, tuple[dict[str, Any], ...]] = {
    "trust-remote-code": (model(), model(LLAMA, trustRemoteCode=False), from_folder("/m", trustRemoteCode=False)),
    "image-registries": (
        model(),
        model() | {"image": "registry.example.com/vajra:1"},
        from_image("ghcr.io/example/qwen:1"),
        pod(containers=[{"name": "worker"}, {"name": "x", "image": "registry.example.com/x"}]),
    ),
    "host-paths": (
        model(),
        from_folder("/srv/models"),
        from_folder("/srv/models/qwen"),
        pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/srv/models/x"}}]),
    ),
}
FORBIDDEN: dict[str, tuple[tuple[dict[str, Any], str], ...]] = {
    "trust-remote-code": (
        (model(LLAMA), "set trustRemoteCode: false"),
        (model("Qwen-imitator/x"), "a model of deepseek-ai, Qwen from huggingface.co"),
        (model(source=OTHER_HUB), "a model of deepseek-ai, Qwen from huggingface.co"),
        (from_folder("/m"), "set trustRemoteCode: false"),
    ),
    "image-registries": (
        (model() | {"image": "docker.io/vajra:1"}, "images come from registry.example.com/, ghcr.io/example/ here"),
        (model() | {"image": "registry.example.com.evil.net/vajra"}, "others: registry.example.com.evil.net/vajra"),
        (from_image("ghcr.io/other/qwen:1"), "others: ghcr.io/other/qwen:1"),
        (pod(containers=[{"name": "worker", "image": "a"}]), "others: a"),
        (pod(initContainers=[{"name": "init", "image": "b"}]), "others: b"),
        (pod(volumes=[{"name": "v", "image": {"reference": "c"}}]), "others: c"),
    ),
    "host-paths": (
        (from_folder("/etc"), "host paths lie below /srv/models/ here; others: /etc"),
        (from_folder("/srv/models-2"), "others: /srv/models-2"),
        (from_folder("/srv/models/../../etc"), "others: /srv/models/../../etc"),
        (model(cache={"type": "HostPath", "hostPath": {"path": "/c"}}), "others: /c"),
        (
            model()
            | {"scheduler": {"type": "FixedChunk", "profile": {"type": "HostPath", "hostPath": {"path": "/p"}}}},
            "others: /p",
        ),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/var/run"}}]), "others: /var/run"),
    ),
}


@contextmanager
def in_force(name: str, kubectl: Kubectl, deployments: Deployments) -> Iterator[None]:
    """A policy holds in the namespace, and nowhere else."""
    policy, binding = yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    here = {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}}
    binding["spec"]["matchResources"] = {"namespaceSelector": here}
    forbidden, message = FORBIDDEN[name][0]

    def check() -> None:
        assert message in str(deployments.refusal(forbidden))

    try:
        kubectl.apply(policy, binding)
        eventually(check)
        yield
    finally:
        for found in (binding, policy):
            kubectl.delete(found["kind"], found["metadata"]["name"])


def test_every_policy_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ALLOWED) == set(FORBIDDEN)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_policy_forbids_what_it_says_and_nothing_else(name: str, kubectl: Kubectl, deployments: Deployments) -> None:
    with in_force(name, kubectl, deployments):
        for spec in ALLOWED[name]:
            deployments.admitted(spec)
        for spec, message in FORBIDDEN[name]:
            assert message in str(deployments.refusal(spec))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_was_there_before_goes_on_and_may_go(name: str, kubectl: Kubectl, deployments: Deployments) -> None:
    forbidden, message = FORBIDDEN[name][0]
    old = manifest(forbidden, "old")
    old["metadata"]["finalizers"] = ["example.com/last-word"]
    kubectl.apply(old)
    with in_force(name, kubectl, deployments):
        kubectl("scale", "vd/old", "--replicas=2")
        deployments.report({"replicas": 2}, "old")
        with pytest.raises(RefusedError, match=re.escape(message)):
            deployments.patched({"suspend": True}, "old")
        kubectl.delete("vd", "old", wait=False)
        kubectl.patch("vd", "old", {"metadata": {"finalizers": None}})
        kubectl.wait("delete", "vd/old")

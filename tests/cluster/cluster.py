"""What a test may do with a cluster that has nodes, however it was made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import eventually

GPU = "nvidia.com/gpu"

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
UNREADY = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


class Cluster(Protocol):
    """A cluster with nodes on which the images of `tests.cluster.images` can run."""

    @property
    def kubectl(self) -> Kubectl: ...

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def host(self) -> str:
        """This machine's address as pods see it: what a test serves there, they can call."""

    def tag(self, image: str, other: str) -> None:
        """Gives an image another name, on all nodes."""

    def kill(self, node: str, container: str) -> None:
        """SIGKILL for the first process of a container, by its id."""

    def cut(self, node: str) -> None:
        """Cuts a node and its pods off from everything."""

    def mend(self, node: str) -> None:
        """Undoes `cut`."""


def nodes(kubectl: Kubectl) -> list[str]:
    """Names of the nodes that are there for pods, in order: not those that only hold the control plane."""
    return sorted(node["metadata"]["name"] for node in kubectl.find("nodes") if CONTROL_PLANE not in _taints(node))


def is_ready(kubectl: Kubectl, node: str) -> bool:
    """Whether the API server says so of the node and its pods may be there; a node that it does not know is not.

    The controller that taints what is not ready lifts the taint a moment after the kubelet has called itself ready.
    """
    for found in kubectl.find("nodes"):
        if found["metadata"]["name"] == node:
            conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", [])}
            return conditions.get("Ready") == "True" and not _taints(found) & UNREADY
    return False


def _taints(node: Any) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints", [])}


@contextmanager
def partition(cluster: Cluster, node: str) -> Iterator[None]:
    """A node that is cut off, inside: already seen to be not ready; afterwards ready again."""

    def not_ready() -> None:
        assert not is_ready(cluster.kubectl, node), f"{node} is cut off and still called ready"

    def ready() -> None:
        assert is_ready(cluster.kubectl, node), f"{node} is connected again and not ready"

    cluster.cut(node)
    try:
        eventually(not_ready, seconds=120)
        yield
    finally:
        cluster.mend(node)
        eventually(ready, seconds=120)


@contextmanager
def gpus(cluster: Cluster, count: int, *names: str) -> Iterator[None]:
    """Nodes (all, unless named) that say they have GPUs, inside. The scheduler believes it; no device is there."""
    chosen = names or nodes(cluster.kubectl)
    for name in chosen:
        _set_gpus(cluster.kubectl, name, f"{count}")
    try:
        yield
    finally:
        for name in chosen:
            _set_gpus(cluster.kubectl, name, None)


def _set_gpus(kubectl: Kubectl, node: str, count: str | None) -> None:
    status = {"status": {part: {GPU: count} for part in ("capacity", "allocatable")}}
    kubectl.patch("node", node, status, subresource="status")

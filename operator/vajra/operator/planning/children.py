"""What is observed of a VajraDeployment's own, sorted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vajra.operator.model import Manifest, Observed
from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.pods import Pod, pod_of


@dataclass(frozen=True)
class Children:
    """objects: all but pods, by kind and name. taken: indices of replicas whose names other pods have."""

    objects: Mapping[tuple[str, str], Manifest]
    replica_pods: tuple[Pod, ...]
    gateway_pods: tuple[Pod, ...]
    taken: frozenset[int]


def children_of(observed: Observed, owner: Owner) -> Children:
    """Sorts the children. Gateway pods belong to a ReplicaSet; replicas' pods to the VajraDeployment itself."""
    objects: dict[tuple[str, str], Manifest] = {}
    replicas: list[Pod] = []
    gateways: list[Pod] = []
    taken: set[int] = set()
    for child in observed.children:
        labels = child["metadata"]["labels"]
        if child["kind"] != "Pod":
            objects[child["kind"], child["metadata"]["name"]] = child
        elif labels.get(names.ROLE) == names.GATEWAY:
            gateways.append(pod_of(child, observed.nodes_down))
        elif owner.owns(child) and {names.REPLICA, names.POD, names.PODS} <= labels.keys():
            replicas.append(pod_of(child, observed.nodes_down))
        elif (index := names.replica_in(owner.name, child["metadata"]["name"])) is not None:
            taken.add(index)
    gateways.sort(key=lambda pod: pod.name)
    return Children(objects, tuple(replicas), tuple(gateways), frozenset(taken))

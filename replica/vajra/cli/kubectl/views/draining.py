"""One replica on its way out, and its successor on its way in."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

from vajra.cli.errors import USAGE, CommandError
from vajra.cli.kubectl.views.pods import replicas
from vajra.cli.words import count
from vajra.operator.model import Manifest
from vajra.operator.planning import names

REFUSED, LEAVING, STARTING, SERVING = "Refused", "Leaving", "Starting", "Serving"


@dataclass(frozen=True)
class DrainView:
    """How far it is. state: Refused (the eviction, for now), Leaving, Starting (its successor), Serving (that one)."""

    replica: int
    state: str
    message: str


def leader_of(pods: Iterable[Manifest], replica: int) -> dict[str, Any]:
    """The pod by which a replica leaves. Raises CommandError, which names the replicas that there are."""
    leaders = {
        int(pod["metadata"]["labels"][names.REPLICA]): pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get(names.ROLE) == names.LEADER
    }
    if replica not in leaders:
        there = ", ".join(map(str, sorted(leaders))) or "none: there are no replicas"
        raise CommandError(f"REPLICA {replica}: allowed: {there}", USAGE)
    return dict(leaders[replica])


def eviction(pod: Manifest) -> dict[str, Any]:
    """The eviction of exactly this pod."""
    meta = pod["metadata"]
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
    }


def drain_view(deployment: Manifest, pods: Iterable[Manifest], replica: int, before: Set[str]) -> DrainView:
    """How far it is once it has been evicted. before: UIDs of the pods that the replica had."""
    pods = list(pods)
    spec = deployment["spec"]
    left = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] in before]
    if left:
        limit = spec.get("drain", {}).get("timeoutSeconds", 0)
        message = f"{', '.join(left)}: finishes the requests that it has, at most {limit} s, and leaves"
        return DrainView(replica, LEAVING, message)
    wanted = 0 if spec.get("suspend") else spec.get("replicas", 1)
    groups = replicas(pods, deployment.get("status", {}))
    serving = sum(group.serves for group in groups)
    if serving >= wanted:
        return DrainView(replica, SERVING, f"replica {replica} has left; {count(serving, 'replica')} of {wanted} serve")
    coming = [pod for group in groups if not group.serves for pod in group.pods if pod.phase != "Serving"]
    if not coming:
        return DrainView(replica, STARTING, f"replica {replica} has left; its successor is yet to be created")
    return DrainView(replica, STARTING, f"{coming[0].name}: {coming[0].phase}")

"""The pods of a VajraDeployment, and how each is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vajra.operator.model import Manifest
from vajra.operator.planning import names
from vajra.operator.planning.blocking import why_pod_not_ready
from vajra.operator.planning.pods import Pod, pod_of
from vajra.operator.reasons import Reason


@dataclass(frozen=True)
class PodView:
    """One pod.

    phase: Serving, Draining, Failed, or a reason of Ready's why it does not serve. message: why, where it does not.
    ranks: those that it holds, `4-7`; empty for a gateway. restarts: of its containers. last_end: what a container said
    when it ended before it was started again.
    """

    name: str
    node: str
    revision: str
    phase: str
    message: str
    ranks: str
    restarts: int
    last_end: str
    created: str
    address: str


@dataclass(frozen=True)
class ReplicaView:
    """One replica. serves: whether all of its pods do. restarts: of the whole replica; worker_restarts: in place."""

    replica: int
    serves: bool
    revision: str
    restarts: int
    worker_restarts: int
    pods: tuple[PodView, ...]


def pod_view(manifest: Manifest) -> PodView:
    """A pod as it is seen from outside."""
    pod = pod_of(manifest, frozenset())
    phase, message = _phase(pod)
    containers = manifest.get("status", {}).get("containerStatuses", [])
    return PodView(
        name=pod.name,
        node=pod.node,
        revision=pod.revision,
        phase=phase,
        message=message,
        ranks=_span(ranks_of(manifest)),
        restarts=sum(each.get("restartCount", 0) for each in containers),
        last_end=_last_end(containers),
        created=manifest["metadata"]["creationTimestamp"],
        address=manifest.get("status", {}).get("podIP", ""),
    )


def replicas(pods: Iterable[Manifest], status: Manifest) -> tuple[ReplicaView, ...]:
    """The replicas by index; restarts are what the status has counted."""
    groups: dict[int, list[Manifest]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        if names.REPLICA in labels and names.POD in labels:
            groups.setdefault(int(labels[names.REPLICA]), []).append(pod)
    counted = {each["replica"]: each for each in status.get("recovery", {}).get("groups", [])}
    return tuple(_replica(index, groups[index], counted.get(index, {})) for index in sorted(groups))


def gateways(pods: Iterable[Manifest]) -> tuple[PodView, ...]:
    """The gateways' pods."""
    found = [pod for pod in pods if pod["metadata"].get("labels", {}).get(names.ROLE) == names.GATEWAY]
    return tuple(pod_view(pod) for pod in sorted(found, key=lambda pod: str(pod["metadata"]["name"])))


def ranks_of(pod: Manifest) -> list[int]:
    """The ranks that a replica's pod holds, in order; none for a gateway's."""
    for container in pod.get("spec", {}).get("containers", []):
        for variable in container.get("env", []):
            if variable["name"] == "VAJRA_RANKS":
                return [int(rank) for rank in variable["value"].split(",")]
    return []


def _replica(index: int, pods: list[Manifest], counted: Manifest) -> ReplicaView:
    pods.sort(key=lambda pod: int(pod["metadata"]["labels"][names.POD]))
    views = tuple(pod_view(pod) for pod in pods)
    whole = len(pods) == int(pods[0]["metadata"]["labels"].get(names.PODS, len(pods)))
    return ReplicaView(
        replica=index,
        serves=whole and all(view.phase == "Serving" for view in views),
        revision=views[0].revision,
        restarts=counted.get("restarts", 0),
        worker_restarts=counted.get("workerRestarts", 0),
        pods=views,
    )


def _phase(pod: Pod) -> tuple[str, str]:
    if pod.deleting:
        return "Draining", "it finishes its requests and leaves"
    if pod.end is not None:
        return "Failed", pod.end.message
    if pod.ready:
        return "Serving", ""
    blocking = why_pod_not_ready(pod, {}, "nvidia.com/gpu")
    if blocking.reason is Reason.STARTING:  # only the operator asks processes how far they are
        return blocking.reason.value, "its process has started and does not serve yet"
    return blocking.reason.value, blocking.message


def _last_end(containers: Sequence[Manifest]) -> str:
    for container in containers:
        last = container.get("lastState", {}).get("terminated")
        if last:
            said = last.get("message", "").strip() or last.get("reason", "")
            where = f"container {container['name']} ended with status {last.get('exitCode', 'unknown')}"
            return f"{where}: {said}" if said else where
    return ""


def _span(ranks: Sequence[int]) -> str:
    """`4-7`; single ranks as they are."""
    if not ranks:
        return ""
    return str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}-{ranks[-1]}"

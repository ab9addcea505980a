"""Which pod has the log that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vajra.cli.errors import USAGE, CommandError
from vajra.cli.kubectl.views.pods import ranks_of
from vajra.operator.model import Manifest
from vajra.operator.planning import names


def pod_of_rank(pods: Iterable[Manifest], spec: Manifest, rank: int, replica: int | None) -> dict[str, Any]:
    """The pod of a replica (left out: the lowest) that holds a rank. Raises CommandError, which says what there is."""
    groups: dict[int, list[Manifest]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        if names.REPLICA in labels:
            groups.setdefault(int(labels[names.REPLICA]), []).append(pod)
    if not groups:
        wanted = 0 if spec.get("suspend") else spec.get("replicas", 1)
        raise CommandError(f"there are no replicas' pods; the spec asks for {wanted} replicas: see `kubectl vajra why`")
    index = min(groups) if replica is None else replica
    if index not in groups:
        raise CommandError(f"--replica {index}: allowed: {', '.join(map(str, sorted(groups)))}", USAGE)
    for pod in groups[index]:
        if rank in ranks_of(pod):
            return dict(pod)
    there = sorted(each for pod in groups[index] for each in ranks_of(pod))
    raise CommandError(f"--rank {rank}: replica {index} has the ranks {', '.join(map(str, there)) or 'none'}", USAGE)


def gateway_pods(pods: Iterable[Manifest]) -> list[dict[str, Any]]:
    """The gateways' pods. Raises CommandError when there are none."""
    found = [dict(pod) for pod in pods if pod["metadata"].get("labels", {}).get(names.ROLE) == names.GATEWAY]
    if not found:
        raise CommandError("there are no gateways: `kubectl vajra why` says why")
    return found


def has_begun(pod: Manifest) -> bool:
    """Whether a container of the pod has ever run."""
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    return status.get("phase") != "Pending" or any(
        each.get("restartCount") or "waiting" not in each.get("state", {}) for each in containers
    )


def container_of(pod: Manifest) -> str:
    """The container of ours in a pod."""
    return names.WORKER if ranks_of(pod) else names.GATEWAY

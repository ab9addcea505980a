"""How a VajraDeployment is: one screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vajra.cli.kubectl.views.pods import PodView, ReplicaView, gateways, replicas
from vajra.operator.model import Manifest

# What a condition is when nobody needs to hear of it.
_QUIET: Final = {
    "Accepted": ("True", None),
    "Ready": (None, None),
    "Available": ("True", None),
    "Progressing": ("False", "Complete"),
    "Degraded": ("False", None),
    "ConfigApplied": ("True", None),
    "Suspended": ("False", None),
}


@dataclass(frozen=True)
class StatusView:
    """One VajraDeployment. conditions: Ready, and those that are not as on a good day; all have the operator's words.

    observed: whether the status speaks of the newest spec. What the status lacks is empty.
    """

    name: str
    namespace: str
    model: str
    accelerator: str
    generation: int
    observed: bool
    ready: bool
    reason: str
    message: str
    wanted_replicas: int
    ready_replicas: int
    gpus: int
    current_revision: str
    update_revision: str
    conditions: Sequence[Mapping[str, Any]]
    replicas: tuple[ReplicaView, ...]
    gateways: tuple[PodView, ...]
    endpoint: Mapping[str, Any]
    capacity: Mapping[str, Any]
    startup: Mapping[str, Any]
    pending_change: Mapping[str, Any]
    last_fault: Mapping[str, Any]
    notices: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One VajraDeployment of many."""

    namespace: str
    name: str
    model: str
    ready: str
    updated: int
    status: str
    created: str


def status_view(deployment: Manifest, pods: Iterable[Manifest]) -> StatusView:
    """How it is, from the object and its pods."""
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status", {})
    pods = list(pods)
    observed = is_observed(deployment)
    ready = condition_of(deployment, "Ready")
    return StatusView(
        name=meta["name"],
        namespace=meta["namespace"],
        model=spec["model"]["name"],
        accelerator=status.get("accelerator", spec.get("resources", {}).get("accelerator", {}).get("type", "")),
        generation=meta["generation"],
        observed=observed,
        ready=observed and ready.get("status") == "True",
        reason=ready.get("reason", "Unseen"),
        message=ready.get("message", "no operator has seen it yet"),
        wanted_replicas=0 if spec.get("suspend") else spec.get("replicas", 1),
        ready_replicas=status.get("readyReplicas", 0),
        gpus=status.get("gpus", 0),
        current_revision=status.get("currentRevision", ""),
        update_revision=status.get("updateRevision", ""),
        conditions=[each for each in status.get("conditions", []) if _matters(each)],
        replicas=replicas(pods, status),
        gateways=gateways(pods),
        endpoint=status.get("endpoint", {}),
        capacity=status.get("capacity", {}),
        startup=status.get("startup", {}),
        pending_change=status.get("pendingChange", {}),
        last_fault=status.get("recovery", {}).get("lastFault", {}),
        notices=status.get("notices", []),
    )


def row(deployment: Manifest) -> Row:
    """One line of the table of all."""
    meta, status = deployment["metadata"], deployment.get("status", {})
    return Row(
        namespace=meta["namespace"],
        name=meta["name"],
        model=deployment["spec"]["model"]["name"],
        ready=status.get("readySummary", f"0/{deployment['spec'].get('replicas', 1)}"),
        updated=status.get("updatedReplicas", 0),
        status=condition_of(deployment, "Ready").get("reason", "Unseen") if is_observed(deployment) else "Unseen",
        created=meta["creationTimestamp"],
    )


def is_observed(deployment: Manifest) -> bool:
    """Whether the status speaks of the newest spec."""
    seen: Any = deployment.get("status", {}).get("observedGeneration")
    return bool(seen == deployment["metadata"]["generation"])


def condition_of(deployment: Manifest, kind: str) -> Mapping[str, Any]:
    """A condition; empty when it is not there."""
    found: Sequence[Mapping[str, Any]] = deployment.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def _matters(condition: Mapping[str, Any]) -> bool:
    status, reason = _QUIET.get(condition["type"], (None, None))
    return condition["status"] != status or (reason is not None and condition["reason"] != reason)

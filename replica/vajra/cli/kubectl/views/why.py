"""Why a VajraDeployment does not serve as it should: the first thing in the way, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vajra.cli.kubectl.views import operators
from vajra.cli.kubectl.views.pods import PodView, gateways, replicas
from vajra.cli.kubectl.views.status import condition_of, is_observed
from vajra.cli.kubectl.views.steps import (
    DELETING,
    OPERATOR_BEHIND,
    OPERATOR_NOT_RUNNING,
    OWN_STEPS,
    REFUSED_BY_THE_CLUSTER,
    STEPS,
    Step,
)
from vajra.operator.model import Manifest
from vajra.operator.planning import names
from vajra.operator.reasons import Reason

_LATELY_SECONDS = 600.0  # an event that is older tells of something else


@dataclass(frozen=True)
class WhyView:
    """The answer. reason: of the operator's closed list, or one of `views.steps`.

    since: when Ready became what it is, where that is the reason. pods: those that do not serve, of which each says
    why. notes: what is worth knowing beside.
    """

    name: str
    namespace: str
    ready: bool
    reason: str
    message: str
    since: str | None
    next_step: str
    command: str
    pods: tuple[PodView, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Finding:
    reason: str
    message: str


def why_view(
    deployment: Manifest,
    pods: Iterable[Manifest],
    events: Iterable[Manifest],
    leases: Sequence[Manifest] | None,
    now: float,
) -> WhyView:
    """The answer. events: of the VajraDeployment. leases: the operators'; None: they may not be seen."""
    pods = list(pods)
    found = _replica_and_gateway_pods(pods, deployment)
    unwell = tuple(pod for pod in found if pod.phase != "Serving")
    first = _first(deployment, list(events), leases, now)
    meta, condition = deployment["metadata"], condition_of(deployment, "Ready")
    step = STEPS[Reason(first.reason)] if first.reason in set(Reason) else OWN_STEPS.get(first.reason, Step(""))
    return WhyView(
        name=meta["name"],
        namespace=meta["namespace"],
        ready=first.reason == Reason.SERVING,
        reason=first.reason,
        message=first.message,
        since=condition.get("lastTransitionTime") if condition.get("reason") == first.reason else None,
        next_step=step.what,
        command=_command(step, meta["name"], first.message, unwell or found),
        pods=unwell,
        notes=tuple(_notes(deployment, first)),
    )


def _first(deployment: Manifest, events: Sequence[Manifest], leases: Sequence[Manifest] | None, now: float) -> _Finding:
    """The first thing in the way, in the order in which they are: nobody acts, it may not be, it is not yet."""
    if "deletionTimestamp" in deployment["metadata"]:
        return _Finding(DELETING, "it is being deleted")
    ready = condition_of(deployment, "Ready")
    observed, is_ready = is_observed(deployment), ready.get("status") == "True"
    if not (observed and is_ready):
        if (idle := operators.nobody_leads(leases, now)) is not None:
            return _Finding(OPERATOR_NOT_RUNNING, idle)
        if not observed:
            return _unseen(deployment, leases)
    accepted = condition_of(deployment, "Accepted")
    if accepted.get("status") == "False":
        return _Finding(accepted["reason"], accepted["message"])
    refused = None if is_ready else _refused(events, now)
    if refused is not None and ready.get("reason") in (Reason.CREATING, Reason.ROLLING_OUT, Reason.GATEWAY_NOT_READY):
        return refused
    return _Finding(ready["reason"], ready["message"])


def _unseen(deployment: Manifest, leases: Sequence[Manifest] | None) -> _Finding:
    generation = deployment["metadata"]["generation"]
    seen = deployment.get("status", {}).get("observedGeneration")
    what = f"its newest spec, generation {generation}"
    said = f"no operator has seen {what}" + (f"; the status is of generation {seen}" if seen else "")
    if leases is None:
        said = f"{said}. Whether one runs cannot be told: this user may not see Leases"
    elif not leases:
        return _Finding(OPERATOR_NOT_RUNNING, f"{said}, and there is no Lease of one: is it installed?")
    return _Finding(OPERATOR_BEHIND, said)


def _refused(events: Sequence[Manifest], now: float) -> _Finding | None:
    """What the API server refused the operator lately."""
    lately = [
        (operators.event_time(event), event["reason"], event.get("note") or event.get("message", ""))
        for event in events
        if event.get("type") == "Warning" and event.get("reason") in REFUSED_BY_THE_CLUSTER
    ]
    time, reason, message = max(lately, default=(0.0, "", ""))
    return _Finding(reason, message) if reason and now - time < _LATELY_SECONDS else None


def _replica_and_gateway_pods(pods: Sequence[Manifest], deployment: Manifest) -> list[PodView]:
    found = [pod for replica in replicas(pods, deployment.get("status", {})) for pod in replica.pods]
    return [*found, *gateways(pods)]


def _command(step: Step, name: str, message: str, pods: Sequence[PodView]) -> str:
    """The command that helps, of the pod that the message names; empty where it needs a pod and there is none."""
    if "{pod}" not in step.command:
        return step.command.format(name=name)
    pod = next((pod for pod in pods if pod.name in message), pods[0] if pods else None)
    if pod is None:
        return ""
    container = names.WORKER if pod.ranks else names.GATEWAY
    return step.command.format(name=name, pod=pod.name, container=container)


def _notes(deployment: Manifest, first: _Finding) -> Iterable[str]:
    """What else does not hold, unless it says the same."""
    for kind, well in (("Available", "True"), ("Degraded", "False"), ("ConfigApplied", "True")):
        condition = condition_of(deployment, kind)
        if condition and condition["status"] != well and condition["reason"] != first.reason:
            yield f"{kind} is {condition['status']}, {condition['reason']}: {condition['message']}"

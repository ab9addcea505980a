"""Why a replica, or the gateways, do not serve yet: one reason, the pod that it is about, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from vajra.operator.model import Report
from vajra.operator.planning import names
from vajra.operator.planning.faults import Ladder
from vajra.operator.planning.groups import Group, State
from vajra.operator.planning.pods import EXIT_CONFIG_REFUSED, OURS, Pod
from vajra.operator.reasons import Fault, Reason


class Blocking(NamedTuple):
    """What stands in the way."""

    reason: Reason
    message: str


# What does not pass by itself.
TROUBLE: Final = frozenset(
    {
        Reason.UNSCHEDULABLE,
        Reason.INSUFFICIENT_GPUS,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_CONFIG_FAILED,
        Reason.CRASH_LOOP,
        Reason.CONFIG_REFUSED,
        Reason.RESTART_LIMIT_EXCEEDED,
        Reason.NODE_LOST,
    }
)
ASKED_ONCE_MORE: Final = "it is asked once more"
_IMAGE_REASONS: Final = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_CONFIG_REASONS: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_STAGES: Final = {
    "WeightDownload": Reason.DOWNLOADING_WEIGHTS,
    "WeightLoad": Reason.LOADING_WEIGHTS,
    "CollectiveInit": Reason.INITIALIZING_COLLECTIVES,
    "Profile": Reason.MEASURING_PROFILE,
    "Warmup": Reason.WARMING_UP,
}


def why_not_ready(group: Group, ladder: Ladder, gpu_resource: str) -> Blocking:
    """Why a group that is not ready is not."""
    if group.state is State.FAILED:
        return _failed(group, ladder)
    if (lost := group.lost_pod) is not None:
        return Blocking(
            Reason.NODE_LOST,
            f"pod {lost.name}: its node {lost.node} does not answer; the replica starts elsewhere when the node has "
            "been given up",
        )
    if group.state is State.LEAVING:
        return Blocking(Reason.DRAINING, f"replica {group.replica} finishes its requests and leaves")
    if group.state is State.INCOMPLETE:
        return Blocking(Reason.CREATING, f"replica {group.replica} has {len(group.pods)} of {group.size} pods")
    found = [why_pod_not_ready(pod, group.reports, gpu_resource) for pod in group.pods if not pod.ready]
    return next((blocking for blocking in found if blocking.reason in TROUBLE), found[0])


def why_pod_not_ready(pod: Pod, reports: Mapping[str, Report], gpu_resource: str) -> Blocking:
    """Why a pod that has not ended is not ready."""
    scheduled = pod.condition("PodScheduled")
    if pod.unschedulable:
        said = scheduled.get("message") or scheduled.get("reason", "")
        if f"Insufficient {gpu_resource}" in said:
            advice = "free some, or add nodes that have them"
            return Blocking(Reason.INSUFFICIENT_GPUS, f"pod {pod.name} waits for {gpu_resource}: {said} ({advice})")
        return Blocking(Reason.UNSCHEDULABLE, f"pod {pod.name} finds no node: {said}")
    for container in pod.containers:
        waiting = container.get("state", {}).get("waiting", {})
        reason, said = waiting.get("reason", ""), waiting.get("message") or waiting.get("reason", "")
        where = f"pod {pod.name}, container {container['name']}"
        if reason in _IMAGE_REASONS:
            return Blocking(Reason.IMAGE_PULL_FAILED, f"{where}: {container.get('image', '')}: {said}")
        if reason in _CONFIG_REASONS:
            return Blocking(Reason.CONTAINER_CONFIG_FAILED, f"{where}: {said}")
        last = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated", {})
        if reason == "CrashLoopBackOff" or "terminated" in container.get("state", {}):
            why = last.get("message", "").strip() or f"it ended with status {last.get('exitCode', 'unknown')}"
            refused = container["name"] in OURS and last.get("exitCode") == EXIT_CONFIG_REFUSED
            return Blocking(Reason.CONFIG_REFUSED if refused else Reason.CRASH_LOOP, f"{where}: {why}")
    report = reports.get(pod.name)
    if report is not None:
        return _starting(pod, report)
    if any("running" in container.get("state", {}) for container in pod.containers):
        return Blocking(Reason.STARTING, f"pod {pod.name}: its process has started and does not answer yet")
    if scheduled.get("status") == "True":
        message = f"pod {pod.name}: node {pod.node} prepares its image and volumes"
        return Blocking(Reason.CONTAINER_CREATING, message + _needed(pod))
    return Blocking(Reason.CREATING, f"pod {pod.name} has just been created")


def _needed(pod: Pod) -> str:
    """A ConfigMap or Secret of the user's that has to be there: a node waits for one that is not, and tells only in
    events."""
    for volume in pod.manifest.get("spec", {}).get("volumes", ()):
        if volume["name"] == names.PROFILE and (source := volume.get("configMap")):
            return f"; it needs the ConfigMap {source.get('name')} with the key {_key(source)}"
        if volume["name"] == names.API_KEYS and (source := volume.get("secret")):
            return f"; it needs the Secret {source.get('secretName')} with the key {_key(source)}"
    return ""


def _key(source: Mapping[str, Any]) -> str:
    return ", ".join(item["key"] for item in source.get("items", ()))


def why_gateway_not_ready(pods: Iterable[Pod], reports: Mapping[str, Report], gpu_resource: str) -> Blocking:
    """Why no gateway answers, or not all of them run the spec. pods: those that stay."""
    for pod in pods:
        if not pod.ready:
            blocking = why_pod_not_ready(pod, reports, gpu_resource)
            if blocking.reason in (Reason.CREATING, Reason.STARTING, Reason.CONTAINER_CREATING):
                return Blocking(Reason.GATEWAY_NOT_READY, blocking.message)
            return blocking
    return Blocking(Reason.GATEWAY_NOT_READY, "the gateways are being rolled over")


def _starting(pod: Pod, report: Report) -> Blocking:
    stage = report.stages[-1] if report.stages else None
    if report.phase == "Starting" and report.worker_restarts:
        again = report.message or "its workers start again"
        return Blocking(Reason.RESTARTING_WORKERS, f"pod {pod.name}: {again}")
    if report.phase == "Serving":
        return Blocking(Reason.STARTING, f"pod {pod.name} serves; the cluster has yet to see it")
    if stage is None or (reason := _STAGES.get(stage.name)) is None:
        said = f": {report.message}" if report.message else ""
        return Blocking(Reason.STARTING, f"pod {pod.name} is starting{said}")
    if reason is Reason.DOWNLOADING_WEIGHTS:
        return Blocking(reason, f"pod {pod.name} downloads weights: {int(100 * stage.progress)}%")
    if reason is Reason.MEASURING_PROFILE:
        return Blocking(reason, f"pod {pod.name} measures execution times: {int(100 * stage.progress)}%")
    return Blocking(reason, f"pod {pod.name} is at {stage.name}")


def _failed(group: Group, ladder: Ladder) -> Blocking:
    end, pod = group.end, group.ended_pod
    assert end is not None
    stopped = group.replica in ladder.stopped
    if end.fault is Fault.CONFIG_REFUSED:
        then = "change the spec, or delete the pod to try again" if stopped else ASKED_ONCE_MORE
        return Blocking(Reason.CONFIG_REFUSED, f"pod {pod.name}: {end.message} ({then})")
    if not stopped:
        return Blocking(Reason.CRASH_LOOP, f"pod {pod.name}: {end.message}; the replica is started again")
    advice = "change the spec, raise recovery.groupRestartLimit, or delete the pod to try once more"
    return Blocking(
        Reason.RESTART_LIMIT_EXCEEDED, f"pod {pod.name} has failed too often, last with: {end.message} ({advice})"
    )

"""What to do about each reason: the words of docs/kubernetes/custom-resource.md, and a command that helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vajra.operator.reasons import Reason


@dataclass(frozen=True)
class Step:
    """What to do next. command: may name {name}, {pod} and {container}; empty: none helps."""

    what: str
    command: str = ""


_LOG: Final = "kubectl logs {pod} -c {container}"
_DESCRIBE: Final = "kubectl describe pod {pod}"
_EDIT: Final = "kubectl edit vd {name}"
_STATUS: Final = "kubectl vajra status {name} --watch"
_ROLLOUT: Final = "kubectl vajra rollout status {name} --watch"

STEPS: Final = {
    Reason.SERVING: Step("nothing"),
    Reason.INVALID_CONFIG: Step("change the fields that the message names", _EDIT),
    Reason.INVALID_POD_TEMPLATE: Step("take it out; the message says what to set instead", _EDIT),
    Reason.UNSUPPORTED_OPTION: Step("use what the message allows", _EDIT),
    Reason.SUSPENDED: Step(
        "unset it to go on", """kubectl patch vd {name} --type merge -p '{{"spec": {{"suspend": false}}}}'"""
    ),
    Reason.SCALED_TO_ZERO: Step("scale up to go on", "kubectl scale vd/{name} --replicas=1"),
    Reason.CREATING: Step(
        "wait; a name that is taken, a quota or a policy in the way is told by an event", "kubectl describe vd {name}"
    ),
    Reason.UNSCHEDULABLE: Step(
        "read the scheduler's words in the message: free room, or change resources, placement or podTemplate", _DESCRIBE
    ),
    Reason.INSUFFICIENT_GPUS: Step(
        "free some, add nodes, or ask for fewer per pod with resources.gpusPerPod", "kubectl describe nodes"
    ),
    Reason.CONTAINER_CREATING: Step(
        "wait; when it lasts, kubectl describe pod names the volume, and a ConfigMap that is not there", _DESCRIBE
    ),
    Reason.CONTAINER_CONFIG_FAILED: Step("make what the message names", _DESCRIBE),
    Reason.IMAGE_PULL_FAILED: Step("correct spec.image, or give imagePullSecrets in podTemplate", _EDIT),
    Reason.STARTING: Step("wait; status.startup has the seconds of the last complete start", _STATUS),
    Reason.DOWNLOADING_WEIGHTS: Step("wait; a cache that lives on (model.cache) saves the next download", _STATUS),
    Reason.LOADING_WEIGHTS: Step("wait; a cache that lives on (model.cache) saves the next download", _STATUS),
    Reason.INITIALIZING_COLLECTIVES: Step("wait; a cache that lives on (model.cache) saves the next download", _STATUS),
    Reason.MEASURING_PROFILE: Step(
        "wait, a minute or more; a cache that lives on (model.cache) or a profile that is named saves the next one",
        _STATUS,
    ),
    Reason.WARMING_UP: Step("wait; a cache that lives on (model.cache) saves the next download", _STATUS),
    Reason.RESTARTING_WORKERS: Step("nothing; the message and the pod's log say why it ended", _LOG),
    Reason.CRASH_LOOP: Step("read the message and the pod's log", _LOG),
    Reason.CONFIG_REFUSED: Step(
        "change the spec; or correct what the message names, and delete the replica's pod to try again", _LOG
    ),
    Reason.RESTART_LIMIT_EXCEEDED: Step(
        "read its log, then change the spec, raise the limit, or delete the pod to try once more", _LOG
    ),
    Reason.NODE_LOST: Step("bring the node back, or delete it", "kubectl get nodes"),
    Reason.DRAINING: Step("wait, at most drain.timeoutSeconds", _STATUS),
    Reason.ROLLING_OUT: Step("wait", _ROLLOUT),
    Reason.GATEWAY_NOT_READY: Step(
        "wait; when it lasts, make the Secret that the message names, or read a gateway's log",
        "kubectl vajra logs {name} --gateway",
    ),
    Reason.CONFIG_PENDING: Step("wait; when it lasts, the pod's log says why not", _LOG),
    Reason.NOT_ANSWERING: Step(
        "let the operator's namespace reach port 8472 of the pods: a NetworkPolicy may be in the way",
        "kubectl get networkpolicies",
    ),
    Reason.PAUSED: Step("unset it to go on", "kubectl vajra rollout resume {name}"),
    Reason.PARTITIONED: Step(
        "lower it to go on",
        """kubectl patch vd {name} --type merge -p '{{"spec": {{"rollout": {{"partition": 0}}}}}}'""",
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: Step(
        "look at the newest replica, or go back; it goes on by itself when the replica becomes ready",
        "kubectl vajra rollout undo {name}",
    ),
    Reason.ACCEPTED: Step("nothing"),
    Reason.CONFIG_APPLIED: Step("nothing"),
    Reason.MINIMUM_REPLICAS_AVAILABLE: Step("nothing"),
    Reason.MINIMUM_REPLICAS_UNAVAILABLE: Step("Ready's reason says why", "kubectl vajra why {name}"),
    Reason.SCALING: Step("wait", _STATUS),
    Reason.COMPLETE: Step("nothing"),
    Reason.AS_EXPECTED: Step("nothing"),
    Reason.NOT_SUSPENDED: Step("nothing"),
}

# What the operator cannot say: it does not act, or it is refused what it does.
OPERATOR_NOT_RUNNING: Final = "OperatorNotRunning"
OPERATOR_BEHIND: Final = "OperatorBehind"
DELETING: Final = "Deleting"
REFUSED_BY_THE_CLUSTER: Final = ("FailedApply", "FailedCreate", "FailedDelete")
_OPERATOR_LOG: Final = "kubectl logs -A -l app.kubernetes.io/name=vajra-operator --prefix"
OWN_STEPS: Final = {
    OPERATOR_NOT_RUNNING: Step(
        "start the operator; what serves goes on without it, and nothing changes",
        "kubectl get pods -A -l app.kubernetes.io/name=vajra-operator",
    ),
    OPERATOR_BEHIND: Step("wait; when it lasts, read the operator's log", _OPERATOR_LOG),
    DELETING: Step("wait until its pods have gone", "kubectl get pods -l vajra.ai/deployment={name}"),
    "FailedApply": Step("take away what the message says is in the way", "kubectl describe vd {name}"),
    "FailedCreate": Step("take away what the message says is in the way", _EDIT),
    "FailedDelete": Step("give the operator the right that the message names", "kubectl describe vd {name}"),
}

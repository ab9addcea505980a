"""A VajraDeployment `llama` and what an operator makes of it. Where nobody runs pods, a test says how they are."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.cluster.api_proxy import ApiProxy
from tests.cluster.kubectl import Kubectl
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.waiting import eventually

from vajra.operator.kinds import CHILDREN, LABEL

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "vajra.ai/v1alpha1",
    "kind": "VajraDeployment",
    "metadata": {"name": "llama"},
    "spec": {
        "model": {"name": "smollm2-135m-instruct", "source": {"type": "Embedded"}, "dtype": "Auto"},
        "resources": {"accelerator": {"type": "CPU"}},
    },
}
OBJECTS = {
    "ConfigMap/llama-config",
    "Deployment/llama-gateway",
    "NetworkPolicy/llama",
    "Pod/llama-0-0",
    "PodDisruptionBudget/llama",
    "PodDisruptionBudget/llama-gateway",
    "Service/llama",
    "Service/llama-leaders",
    "Service/llama-ranks",
    "ServiceAccount/llama",
}
KINDS = ",".join(f"{kind.plural}.{kind.group}".rstrip(".") for kind in CHILDREN)
_SERVERS_OWN = ("clusterIP", "clusterIPs")  # what an API server fills into a spec, and never the same way twice


def owned(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """What belongs to it, by kind and name; gateway pods aside, which are its Deployment's."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item
        for item in kubectl.find(KINDS, f"{LABEL}=llama")
        if item["kind"] != "Pod" or item["metadata"]["labels"].get("vajra.ai/role") != "gateway"
    }


def expect_objects(kubectl: Kubectl, *more: str) -> None:
    """Waits until there is what there should be, and nothing else."""

    def check() -> None:
        assert set(owned(kubectl)) == OBJECTS | set(more)

    eventually(check)


def essence(kubectl: Kubectl) -> dict[str, Any]:
    """What an operator decides about its objects and its status: the same in any namespace, at any time."""
    found = {name: _essence(item) for name, item in owned(kubectl).items()}
    status = dict(kubectl.get("vajradeployment", "llama").get("status", {}))
    revisions = [{**each, "createdTime": ""} for each in status.pop("revisions", [])]
    found["status"] = {**status, "revisions": revisions}
    found["status"]["conditions"] = [{**each, "lastTransitionTime": ""} for each in status.get("conditions", [])]
    essence: dict[str, Any] = json.loads(json.dumps(found, sort_keys=True).replace(kubectl.namespace, "NAMESPACE"))
    return essence


def _essence(item: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in item.get("spec", {}).items() if key not in _SERVERS_OWN}
    return {"labels": item["metadata"]["labels"], "spec": spec, "data": item.get("data")}


def expect_conditions(kubectl: Kubectl, name: str = "llama", **expected: str) -> None:
    """Waits until conditions of the newest generation are so: `Ready="True"`."""

    def check() -> None:
        found = kubectl.get("vajradeployment", name)
        status = found.get("status", {})
        assert status.get("observedGeneration") == found["metadata"]["generation"]
        states = {each["type"]: each["status"] for each in status["conditions"]}
        assert {kind: states[kind] for kind in expected} == expected, status["conditions"]

    eventually(check)


def set_ready(kubectl: Kubectl, pod: str, *, ready: bool = True) -> None:
    """Says of a pod what a kubelet would."""
    kubectl.patch("pod", pod, serving(ready=ready), subresource="status")


def serving(*, ready: bool = True) -> dict[str, Any]:
    """A pod's status, as a patch of it, when its processes run."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    state = {"status": "True" if ready else "False", "lastTransitionTime": now}
    conditions = [{"type": kind, **state} for kind in ("Ready", "ContainersReady")]
    return {"status": {"phase": "Running", "conditions": conditions}}


def set_all_ready(kubectl: Kubectl) -> None:
    """Waits for a replica and two gateways, and says that all pods serve."""

    def pods() -> list[str]:
        found = [pod["metadata"]["name"] for pod in kubectl.find("pods", f"{LABEL}=llama")]
        assert len(found) >= 3
        return found

    for pod in eventually(pods):
        set_ready(kubectl, pod)


def rests(operator: OperatorProcess, proxy: ApiProxy) -> bool:
    """Waits until the operator has read everything three times since its last write; False when it has ended before.

    It should read often: `--resync-seconds 1`.
    """
    writes, reads = -1, 0

    def check() -> bool:
        nonlocal writes, reads
        if not operator.alive:
            return False
        calls = list(proxy.calls)
        made, seen = sum(call.writes for call in calls), sum(call.lists_deployments for call in calls)
        if made != writes:
            writes, reads = made, seen
        assert seen >= reads + 3, f"the operator still writes, or reads nothing:\n{operator.tail()}"
        return True

    return eventually(check)

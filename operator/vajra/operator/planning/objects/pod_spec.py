"""What the pods of replicas and gateways have in common: security, environment, probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vajra.config import VajraDeploymentSpec
from vajra.config.spec.cluster import DrainSection
from vajra.operator.planning import names
from vajra.operator.planning.leaving import grace_seconds
from vajra.operator.planning.objects.volumes import Mounted

_USER: Final = 65532
_STARTUP_PERIOD: Final = 2
_STARTUP_FAILURES: Final = 43200  # a day: whether a start gets on is for the process to judge, and the ladder
_LOST_NODE_SECONDS: Final = 30  # that a pod stays bound to a node that does not answer


def pod_spec(
    owner: str, spec: VajraDeploymentSpec, drain: DrainSection, container: Mapping[str, Any], mounted: Sequence[Mounted]
) -> dict[str, Any]:
    """A pod's spec around its one container, as the restricted pod security standard wants it."""
    mounts = [mount for each in mounted for mount in each.mounts]
    return {
        "serviceAccountName": owner,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds(drain),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{taint}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _LOST_NODE_SECONDS,
            }
            for taint in ("not-ready", "unreachable")
        ],
        "containers": [{**container, "volumeMounts": mounts}],
        "volumes": [each.volume for each in mounted],
    }


def container(
    name: str,
    image: str,
    pull_policy: str,
    command: Sequence[str],
    ports: Mapping[str, int],
    environment: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A container of ours. What it wrote last is in its pod's status when it ends."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": list(command),
        "ports": [{"name": key, "containerPort": port, "protocol": "TCP"} for key, port in ports.items()],
        "env": list(environment),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {
            "grpc": {"port": names.CONTROL_PORT, "service": "startup"},
            "periodSeconds": _STARTUP_PERIOD,
            "timeoutSeconds": 5,
            "failureThreshold": _STARTUP_FAILURES,
        },
        "readinessProbe": {
            "grpc": {"port": names.CONTROL_PORT},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "grpc": {"port": names.CONTROL_PORT, "service": "liveness"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
    }


def environment(spec: VajraDeploymentSpec, revision: str) -> list[dict[str, Any]]:
    """Where files go in a pod whose root is read-only, and how a hub is reached."""
    variables: list[dict[str, Any]] = [
        {"name": "VAJRA_REVISION", "value": revision},
        {"name": "VAJRA_CACHE", "value": names.CACHE_MOUNT},
        {"name": "HF_HOME", "value": f"{names.CACHE_MOUNT}/huggingface"},
        {"name": "HOME", "value": "/tmp"},
    ]
    token, hub = spec.model.token_secret_ref, spec.model.source.hugging_face
    if token is not None:
        reference = {"secretKeyRef": {"name": token.name, "key": token.key}}
        variables.append({"name": "HF_TOKEN", "valueFrom": reference})
    if hub is not None and hub.endpoint is not None:
        variables.append({"name": "HF_ENDPOINT", "value": hub.endpoint})
    return variables

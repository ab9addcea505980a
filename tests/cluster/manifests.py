"""Objects for tests, as plain dicts."""

from __future__ import annotations

from typing import Any

from tests.cluster.images import OPERATOR

# What the Pod Security Standard "restricted" asks for, and a root file system that nobody can write.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(
    name: str, *command: str, image: str = OPERATOR, container: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod with one container, `main`, which has Python; it has the label app=NAME, and ends at once when deleted.

    `container` adds to its container, `spec` to its spec.
    """
    main = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [main | (container or {})], **spec},
    }


def service(name: str, selector: dict[str, str], port: int, target: int, **spec: Any) -> dict[str, Any]:
    """A Service with one port; `spec` adds to its spec."""
    ports = [{"port": port, "targetPort": target}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports, **spec},
    }

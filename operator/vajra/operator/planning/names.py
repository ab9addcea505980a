"""Names of everything that belongs to a VajraDeployment, its labels and the paths and ports in its pods."""

from __future__ import annotations

import re
from typing import Final

DEPLOYMENT: Final = "vajra.ai/deployment"
REPLICA: Final = "vajra.ai/replica-index"
POD: Final = "vajra.ai/pod-index"
PODS: Final = "vajra.ai/pods-per-replica"
REVISION: Final = "vajra.ai/revision"
ROLE: Final = "vajra.ai/role"
LAYOUT: Final = "vajra.ai/layout"  # an annotation

LEADER: Final = "leader"
FOLLOWER: Final = "follower"
GATEWAY: Final = "gateway"  # a role, a component and a container
REPLICA_COMPONENT: Final = "replica"
WORKER: Final = "worker"  # a container
PROFILE: Final = "profile"  # a volume
API_KEYS: Final = "api-keys"  # a volume

CONTROL_PORT: Final = 8472
METRICS_PORT: Final = 8473  # of gateways
CONFIG_MOUNT: Final = "/etc/vajra"
CACHE_MOUNT: Final = "/vajra/cache"
PROFILE_MOUNT: Final = "/vajra/profile"
API_KEYS_MOUNT: Final = "/etc/vajra-api-keys"
API_KEYS_FILE: Final = "api-keys.yaml"
LIVE_FILE: Final = "live.json"


def config_map(name: str) -> str:
    """The ConfigMap with revisions and live settings."""
    return f"{name}-config"


def gateway(name: str) -> str:
    """The gateways' Deployment and PodDisruptionBudget."""
    return f"{name}-gateway"


def leaders(name: str) -> str:
    """The headless Service where gateways find replicas."""
    return f"{name}-leaders"


def ranks(name: str) -> str:
    """The headless Service where ranks find one another."""
    return f"{name}-ranks"


def group_policy(name: str, replica: int) -> str:
    """The NetworkPolicy inside a replica of several pods."""
    return f"{name}-group-{replica}"


def pod(name: str, replica: int, index: int) -> str:
    """A replica's pod."""
    return f"{name}-{replica}-{index}"


def replica_in(name: str, pod_name: str) -> int | None:
    """The index of the replica in a pod's name; None when it is no such name."""
    found = re.fullmatch(rf"{re.escape(name)}-(\d+)-\d+", pod_name)
    return None if found is None else int(found[1])


def revision_file(revision: str) -> str:
    """The key of a revision in the ConfigMap."""
    return f"revision-{revision}.json"


def leader_selector(name: str) -> str:
    """Leaders only, so that an autoscaler averages per replica."""
    return f"{DEPLOYMENT}={name},{ROLE}={LEADER}"


def component_selector(name: str, component: str) -> dict[str, str]:
    """The labels that select a component's pods."""
    return {DEPLOYMENT: name, "app.kubernetes.io/component": component}


def labels(name: str, component: str) -> dict[str, str]:
    """Labels of every object; `component` is gateway or replica."""
    return {
        "app.kubernetes.io/name": "vajra",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "vajra-operator",
        DEPLOYMENT: name,
    }

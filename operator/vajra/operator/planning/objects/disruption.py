"""PodDisruptionBudgets: at most one replica, and one gateway, is evicted at a time."""

from __future__ import annotations

from typing import Any

from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner


def replica_budget(owner: Owner, min_available: int) -> dict[str, Any]:
    """Counts pods: an evicted pod makes all of its group unready, and nobody may touch another then."""
    return _budget(owner, owner.name, names.REPLICA_COMPONENT, {"minAvailable": min_available})


def gateway_budget(owner: Owner) -> dict[str, Any]:
    """Of the gateways."""
    return _budget(owner, names.gateway(owner.name), names.GATEWAY, {"maxUnavailable": 1})


def _budget(owner: Owner, name: str, component: str, limit: dict[str, int]) -> dict[str, Any]:
    selector = {"matchLabels": names.component_selector(owner.name, component)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(name, component),
        # What does not serve may be evicted: else a broken replica would hold its node for ever.
        "spec": {**limit, "selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    }

"""The ServiceAccount of all pods: a name for policies, without a token."""

from __future__ import annotations

from typing import Any

from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner


def service_account(owner: Owner) -> dict[str, Any]:
    """Nothing in a pod talks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owner.metadata(owner.name, names.REPLICA_COMPONENT),
        "automountServiceAccountToken": False,
    }

"""The ConfigMap that every pod mounts as a directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner


def config_map(owner: Owner, files: Mapping[str, str]) -> dict[str, Any]:
    """Revisions and live settings."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(names.config_map(owner.name), names.REPLICA_COMPONENT),
        "data": dict(files),
    }

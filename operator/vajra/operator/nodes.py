"""Which nodes are not ready, as far as the operator may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Nodes:
    """The nodes that are not ready. A node that is gone is not among them: the cluster itself ends its pods."""

    def __init__(self) -> None:
        self._down: set[str] = set()

    @property
    def down(self) -> frozenset[str]:
        """Their names."""
        return frozenset(self._down)

    def observe(self, node: Mapping[str, Any]) -> set[str]:
        """Takes what a watch brought; the names of nodes that went down or came up."""
        return self._set(node["metadata"]["name"], not is_ready(node))

    def observe_gone(self, node: Mapping[str, Any]) -> set[str]:
        """Takes note of a node that is deleted."""
        return self._set(node["metadata"]["name"], False)

    def replace(self, down: set[str]) -> set[str]:
        """Takes the names of all that are not ready now; the names of nodes that went down or came up."""
        changed = down ^ self._down
        self._down = set(down)
        return changed

    def _set(self, name: str, down: bool) -> set[str]:
        if down == (name in self._down):
            return set()
        self._down ^= {name}
        return {name}


def is_ready(node: Mapping[str, Any]) -> bool:
    """What the node's condition says."""
    conditions = node.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

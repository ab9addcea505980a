"""What all objects of one VajraDeployment have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vajra.config import API_VERSION, KIND
from vajra.operator.model import Manifest
from vajra.operator.planning import names


@dataclass(frozen=True)
class Owner:
    """The VajraDeployment that an object belongs to, and goes with."""

    name: str
    namespace: str
    uid: str

    def metadata(self, name: str, component: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """metadata of an object."""
        reference = {"apiVersion": API_VERSION, "kind": KIND, "name": self.name, "uid": self.uid}
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**names.labels(self.name, component), **(labels or {})},
            "ownerReferences": [{**reference, "controller": True, "blockOwnerDeletion": True}],
        }

    def owns(self, item: Manifest) -> bool:
        """Whether an observed object is its own, not one of an earlier deployment with the same name."""
        return any(reference["uid"] == self.uid for reference in item["metadata"].get("ownerReferences", ()))

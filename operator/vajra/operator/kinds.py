"""The kinds of objects that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vajra.config import API_VERSION
from vajra.config import KIND as VAJRA_DEPLOYMENT_KIND
from vajra.operator.planning import names

LABEL = names.DEPLOYMENT  # on everything that belongs to a VajraDeployment; its value is the name


@dataclass(frozen=True)
class Kind:
    """One kind. api_version: as in a manifest, "apps/v1"; plural: as in a path."""

    api_version: str
    name: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version without its group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The path of all objects, of those of a namespace, or of one."""
        root = "/apis" if self.group else "/api"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


VAJRA_DEPLOYMENT = Kind(API_VERSION, VAJRA_DEPLOYMENT_KIND, "vajradeployments")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("events.k8s.io/v1", "Event", "events")

CHILDREN = (
    POD,
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Service", "services"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
)
_BY_NAME = {kind.name: kind for kind in (VAJRA_DEPLOYMENT, *CHILDREN)}


def kind_named(name: str) -> Kind:
    """The kind that is called so, of a VajraDeployment and what belongs to one. Raises ValueError for others."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"the operator does not write objects of kind {name}; known: {', '.join(_BY_NAME)}") from None


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The kind of a manifest. Raises ValueError for one that is not the operator's."""
    kind = kind_named(manifest["kind"])
    if manifest["apiVersion"] != kind.api_version:
        raise ValueError(
            f"{kind.name}: got apiVersion {manifest['apiVersion']}; the operator writes {kind.api_version}"
        )
    return kind

"""The CustomResourceDefinition of `VajraDeployment`: `python -m vajra.config.crd > manifests/crd.yaml`."""

from __future__ import annotations

import sys
from typing import Any, Final

from vajra.config.crd_schema import spec_schema, validation
from vajra.config.crd_status import status_schema
from vajra.config.deployment import API_VERSION, KIND
from vajra.config.fields import field_by_name
from vajra.config.metadata import ObjectMeta

GROUP, VERSION = API_VERSION.split("/")
PLURAL: Final = "vajradeployments"

_HEAD = "# Generated: python -m vajra.config.crd > manifests/crd.yaml\n"
_SELECTABLE: Final = ("spec.model.name", "spec.scheduler.type", "spec.resources.accelerator.type")


def crd() -> dict[str, Any]:
    """The definition, as plain data."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": f".{path}"} for path in _SELECTABLE],
        "additionalPrinterColumns": _columns(),
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": PLURAL.removesuffix("s"),
        "shortNames": ["vd"],
        "categories": ["all", "vajra"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def render() -> str:
    """The definition in YAML; fields without fields of their own take one line, which keeps it short."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return _HEAD + yaml.dump(crd(), Dumper=Dumper, sort_keys=False, default_flow_style=None, width=120)


def _schema() -> dict[str, Any]:
    name = field_by_name(ObjectMeta, "name")
    length, pattern = name.limits["max_length"], name.limits["pattern"]
    rule = f"size(self.metadata.name) <= {length} && self.metadata.name.matches('{pattern}')"
    return {
        "description": "A language model, served by replicas behind gateways.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec_schema(),
            "status": status_schema(),
        },
        "x-kubernetes-validations": [
            validation(
                rule,
                f"allowed: {name.allowed}; names of pods derive from it",
                "self.metadata.name",
                "FieldValueInvalid",
            )
        ],
    }


def _columns() -> list[dict[str, Any]]:
    def wide(name: str, path: str, kind: str = "string") -> dict[str, Any]:
        return _column(name, path, kind) | {"priority": 1}

    return [
        _column("Model", ".spec.model.name"),
        _column("Ready", ".status.readySummary"),
        _column("Up-to-date", ".status.updatedReplicas", "integer"),
        _column("Scheduler", ".spec.scheduler.type"),
        _column("Status", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("Age", ".metadata.creationTimestamp", "date"),
        wide("Prioritizer", ".spec.prioritizer.type"),
        wide("GPUs", ".status.gpus", "integer"),
        wide("Accelerator", ".status.accelerator"),
        wide("Endpoint", ".status.endpoint.grpc"),
    ]


def _column(name: str, path: str, kind: str = "string") -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path}


if __name__ == "__main__":
    sys.stdout.write(render())

"""The CRD as it is generated; what an API server makes of it is tested in tests/cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vajra.config.crd import crd, render
from vajra.config.rules import RULES
from vajra.config.table import rows

PATH = Path(__file__).parents[2] / "manifests" / "crd.yaml"
ROOT = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
HAND_WRITTEN = "spec.podTemplate."  # native Kubernetes names, of which the registry knows nothing


def properties(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below, those of list items too."""
    for key, inner in schema.get("properties", schema.get("items", {}).get("properties", {})).items():
        yield f"{path}.{key}", inner
        yield from properties(inner, f"{path}.{key}")


def test_the_file_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run: make crd"
    assert yaml.safe_load(render()) == crd()


def test_it_fits_where_kubectl_apply_keeps_it() -> None:
    assert len(render().encode()) < 64 * 1024


def test_it_has_the_fields_of_the_registry_and_no_others() -> None:
    known = [path for path, _ in properties(ROOT["spec"], "spec") if not path.startswith(HAND_WRITTEN)]
    assert known == [row.path for row in rows()]


def test_every_field_says_what_it_is() -> None:
    for part in ("spec", "status"):
        for path, schema in properties(ROOT[part], part):
            assert schema.get("description", "").endswith("."), path


def test_every_rule_between_fields_is_in_it() -> None:
    written = [(rule["rule"], f"spec{rule['fieldPath']}") for rule in ROOT["spec"]["x-kubernetes-validations"]]
    assert written == [(rule.cel, rule.path) for rule in RULES]

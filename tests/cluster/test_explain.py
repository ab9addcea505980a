"""`kubectl explain` knows every field of a VajraDeployment and says what it means."""

from __future__ import annotations

import re

import pytest
from tests.cluster.kubectl import Kubectl

from vajra.config.table import Row, rows

pytestmark = pytest.mark.usefixtures("crd")

SAMPLES = ("spec.scheduler.dynamicChunk.minChunkTokens", "spec.model.source", "spec.model.dtype", "spec.podTemplate")


def test_every_field_is_listed(kubectl: Kubectl) -> None:
    text = kubectl("explain", "vajradeployment.spec", "--recursive")
    listed = re.findall(r"^( +)(\w+)\t<", text, re.MULTILINE)
    here: list[str] = []
    paths = set()
    for indent, key in listed:
        here = [*here[: len(indent) // 2 - 1], key]
        paths.add(".".join(["spec", *here]))
    assert {row.path for row in rows()} <= paths


@pytest.mark.parametrize("row", [row for row in rows() if row.path in SAMPLES], ids=lambda row: row.path)
def test_a_field_is_explained_in_the_words_of_the_registry(kubectl: Kubectl, row: Row) -> None:
    text = " ".join(kubectl("explain", f"vd.{row.path}").split())
    assert row.doc in text
    assert all(str(choice) in text for choice in row.field.choices)


def test_status_is_explained(kubectl: Kubectl) -> None:
    text = " ".join(kubectl("explain", "vd.status.recovery.lastFault").split())
    assert "What was done about it." in text

"""The documentation explains the closed lists of reasons: each once, and no other."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from vajra.operator.reasons import Fault, FaultAction, Reason

PAGE = (Path(__file__).parents[2] / "docs/kubernetes/custom-resource.md").read_text()


def explained(heading: str, column: str) -> list[str]:
    """What the tables of a chapter list that have such a first column."""
    (chapter,) = re.findall(rf"^### {heading}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    tables = re.findall(rf"^\| {column} \|.*\n\|--.*\n((?:\|.*\n)+)", chapter, re.MULTILINE)
    rows = [row.split("|") for table in tables for row in table.splitlines()]
    assert all(cell.strip() for row in rows for cell in row[1:-1]), "each is explained"
    return [word for row in rows for word in re.findall(r"`(\w+)`", row[1])]


@pytest.mark.parametrize(
    ("heading", "column", "words"),
    [("Reasons", "reason", Reason), ("Faults", "reason", Fault), ("Faults", "action", FaultAction)],
    ids=["reasons", "faults", "actions"],
)
def test_each_word_is_explained(heading: str, column: str, words: type[StrEnum]) -> None:
    assert sorted(explained(heading, column)) == sorted(words)

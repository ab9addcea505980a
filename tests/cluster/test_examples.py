"""The manifests of the project are admitted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.cluster.deployments import Admission

from vajra.config import VajraDeployment

FOLDER = Path(__file__).parents[2] / "manifests"
EXAMPLES = (FOLDER / "smollm2.yaml", *sorted((FOLDER / "examples").glob("*.yaml")))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_admitted_and_means_the_same_to_both(admission: Admission, path: Path) -> None:
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    stored = admission.admitted(written["spec"], written["metadata"]["name"])
    assert VajraDeployment.from_dict(stored).spec == VajraDeployment.from_yaml(path).spec


def test_the_smallest_has_six_lines() -> None:
    text = (FOLDER / "examples" / "minimal.yaml").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == 6

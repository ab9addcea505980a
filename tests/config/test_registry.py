"""What is read off the declarations: JSON schema, documentation, change classes; and the cost of the import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from tests.config.strategies import manifests

from vajra.config import (
    API_VERSION,
    KIND,
    Change,
    ConfigError,
    VajraDeployment,
    changed_fields,
    describe,
    json_schema,
    updatable_paths,
)
from vajra.config.docs import render
from vajra.config.reference import REFERENCE_CLASSES
from vajra.config.table import Row, leaves, rows

HEAD: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "x"}}
MODEL = {"name": "m"}
SCHEMA = Draft202012Validator(json_schema())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(manifests())
def test_the_schema_accepts_what_the_parser_accepts(manifest: dict[str, Any]) -> None:
    SCHEMA.validate(manifest)
    SCHEMA.validate(VajraDeployment.from_dict(manifest).to_dict())


def _wrong_values(row: Row) -> list[Any]:
    field = row.field
    wrong: list[Any] = [[], {"nonsense": 1}] if field.key != "podTemplate" else [[]]
    if field.type is int:
        wrong += [1.5, "1", True]
        wrong += [field.limits["ge"] - 1] if "ge" in field.limits else []
        wrong += [field.limits["le"] + 1] if "le" in field.limits else []
    if field.type is str:
        wrong += [1, "x" * (field.limits.get("max_length", 0) + 1)]
    if field.choices:
        wrong += ["nonsense", 3]
    return wrong


@pytest.mark.parametrize("row", [row for row in leaves() if row.available], ids=lambda row: row.path)
def test_schema_and_parser_refuse_the_same(row: Row) -> None:
    for wrong in _wrong_values(row):
        nested: Any = wrong
        for key in reversed(row.path.split(".")[1:]):
            nested = {key: nested}
        spec = {"model": MODEL} | nested
        if "model" in nested:
            spec["model"] = MODEL | nested["model"]
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(HEAD | {"spec": spec})
        with pytest.raises(ConfigError) as caught:
            VajraDeployment.from_dict(HEAD | {"spec": spec})
        assert any(fault.path.startswith(row.path) for fault in caught.value.errors)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"model": {}},
        {"model": MODEL, "nonsense": 1},
        {"model": MODEL, "scheduler": {"type": "FixedChunk", "dynamicChunk": {}}},
        {"model": MODEL, "prioritizer": {"type": "FCFS", "lrs": {}}},
        {"model": MODEL | {"source": {"type": "HostPath"}}},
    ],
)
def test_the_schema_knows_unions_and_required_fields(spec: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(HEAD | {"spec": spec})


def test_the_documentation_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == render(), "run: make docs"


def test_the_documentation_has_every_option_and_class() -> None:
    page = render()
    for option in describe():
        section = ".".join(option.path.split(".")[:2]) if option.path.count(".") > 1 else "spec"
        assert f"\n| `{option.path.removeprefix(section + '.')}` | " in page.partition(f"### {section}\n")[2]
        assert option.meaning, option.path
        assert option.allowed, option.path
    for cls in REFERENCE_CLASSES:
        assert f"### {cls.__name__}\n" in page


def test_the_example_in_the_documentation_is_valid() -> None:
    VajraDeployment.from_yaml(render().split("```yaml\n")[1].split("```")[0])


LIVE = {
    "spec.replicas",
    "spec.tokenizerWorkers",
    "spec.scheduler",
    "spec.prioritizer",
    "spec.metrics",
    "spec.rollout",
    "spec.drain",
    "spec.recovery",
    "spec.autoscaling",
    "spec.suspend",
}


def test_change_classes() -> None:
    top = {row.path: row.change for row in rows() if row.path.count(".") == 1}
    assert {path for path, change in top.items() if change is Change.LIVE} == LIVE
    odd = {row.path for row in leaves() if row.change is not top[".".join(row.path.split(".")[:2])]}
    assert {path for path in odd if not path.startswith(("spec.metrics.wandb.", "spec.scheduler.profile."))} == {
        "spec.metrics.outputDir"
    }
    assert {row.change for row in leaves() if row.path.startswith("spec.scheduler.profile.")} == {Change.RECREATE}


def test_what_is_taken_over_while_running_is_said_of_every_option() -> None:
    updatable = (
        *("spec.replicas", "spec.tokenizerWorkers", "spec.scheduler.type", "spec.scheduler.fixedChunk"),
        *("spec.scheduler.dynamicChunk", "spec.scheduler.spaceSharing", "spec.prioritizer", "spec.rollout"),
        *("spec.drain", "spec.recovery", "spec.autoscaling", "spec.suspend"),
    )
    assert updatable_paths() == updatable
    for option in describe():
        live = f"{option.path}.".startswith(tuple(f"{path}." for path in updatable))
        assert ("Taken over while running" in option.takeover) is live
        assert ("`UpdateConfig` refuses it: restart" in option.takeover) is not live
        section = ".".join(option.path.split(".")[:2]) if option.path.count(".") > 1 else "spec"
        (line,) = (
            line
            for line in render().partition(f"### {section}\n")[2].partition("\n### ")[0].splitlines()
            if line.startswith(f"| `{option.path.removeprefix(section + '.')}` |")
        )
        assert f"| {option.change}. {option.takeover} |" in line


def test_changed_fields() -> None:
    old = VajraDeployment.from_dict(HEAD | {"spec": {"model": MODEL}}).spec
    changes = {"scheduler": {"type": "DynamicChunk"}, "cache": {"blockSize": 8}, "image": "i"}
    new = VajraDeployment.from_dict(HEAD | {"spec": {"model": MODEL} | changes}).spec
    found = {change.path: (change.old, change.new, change.change) for change in changed_fields(old, new)}
    assert found["spec.cache.blockSize"] == (16, 8, Change.RECREATE)
    assert found["spec.image"] == (None, "i", Change.RECREATE)
    assert found["spec.scheduler.type"] == ("FixedChunk", "DynamicChunk", Change.LIVE)
    assert found["spec.scheduler.fixedChunk.chunkSize"] == (2048, None, Change.LIVE)
    assert found["spec.scheduler.dynamicChunk.maxChunkTokens"] == (None, 8192, Change.LIVE)
    assert changed_fields(old, old) == []
    drain = VajraDeployment.from_dict(HEAD | {"spec": {"model": MODEL, "drain": {"timeoutSeconds": 1}}}).spec
    (change,) = changed_fields(old, drain)
    assert (change.path, change.updatable) == ("spec.drain.timeoutSeconds", True)


def test_the_import_is_light() -> None:
    heavy = {"torch", "transformers", "grpc", "numpy", "yaml", "huggingface_hub", "aiohttp"}
    program = f"import sys, vajra.config; print(sorted({heavy!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_exports_are_sorted_and_there() -> None:
    import vajra.config

    assert all(hasattr(vajra.config, name) for name in vajra.config.__all__)

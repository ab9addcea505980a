"""`vajra config` and `vajra model`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from vajra.cli.main import app
from vajra.config import ConfigError

MODEL = "smollm2-135m-instruct"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_what_show_prints_is_valid_and_stays_the_same(tmp_path: Path) -> None:
    shown = run("config", "show", MODEL)
    assert shown.exit_code == 0
    path = tmp_path / "deployment.yaml"
    path.write_text(shown.stdout)
    assert run("config", "validate", str(path)).exit_code == 0
    assert run("config", "validate", "-", stdin=shown.stdout).exit_code == 0
    assert run("config", "show", "-f", str(path)).stdout == shown.stdout
    for flag in ([], ["-f"], ["--file"], ["--manifest"]):
        assert run("config", "validate", *flag, str(path)).stdout == f"{path}: valid\n"
        assert run("config", "show", *flag, str(path)).stdout == shown.stdout
        assert run("config", "show", *flag, "-", stdin=shown.stdout).stdout == shown.stdout
    assert json.loads(run("config", "show", "-f", str(path), "-o", "json").stdout) == yaml.safe_load(shown.stdout)


def test_the_schema_accepts_what_show_prints_and_refuses_a_misspelt_field() -> None:
    schema = json.loads(run("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    manifest = yaml.safe_load(run("config", "show").stdout)
    jsonschema.validate(manifest, schema)
    manifest["spec"]["replcas"] = 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"replcas": 2}, "spec.replcas"),
        ({"parallelism": {"tensor": 2}}, "spec.parallelism.tensor"),
        ({"scheduler": {"type": "FixedChunk", "fixedChunk": {"chunkSize": 0}}}, "spec.scheduler.fixedChunk.chunkSize"),
    ],
)
def test_validate_names_every_fault_by_its_path(change: dict[str, object], path: str) -> None:
    manifest = yaml.safe_load(run("config", "show").stdout)
    manifest["spec"].update(change)
    text = yaml.safe_dump(manifest)
    told = run("config", "validate", "-", stdin=text)
    assert told.exit_code == 2
    assert path in told.stderr
    data = json.loads(run("config", "validate", "-", "-o", "json", stdin=text).stdout)
    assert data["valid"] is False
    assert [fault["path"] for fault in data["faults"]] == [path]
    served = run("serve", "-f", "-", stdin=text)
    assert isinstance(served.exception, ConfigError)
    assert path in str(served.exception)


def test_a_model_is_pulled_described_and_listed() -> None:
    pulled = json.loads(run("model", "pull", MODEL, "-o", "json").stdout)
    assert (pulled["model"], pulled["format"], pulled["num_layers"]) == (MODEL, "gguf", 30)
    rows = json.loads(run("model", "list", "-o", "json").stdout)
    (row,) = (row for row in rows if row["model"] == MODEL)
    assert row["state"] == "ready"
    assert row["path"] == pulled["path"]
    assert MODEL in run("model", "list").stdout

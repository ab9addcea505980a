"""`kubectl vajra` as far as no cluster is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "replica"
COMMANDS = [
    ["status"], ["why"], ["plan"], ["drain"], ["logs"], ["top"],
    ["rollout", "status"], ["rollout", "history"], ["rollout", "undo"], ["rollout", "pause"], ["rollout", "resume"],
]  # fmt: skip


def plugin(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vajra.cli.kubectl", *arguments]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_speaks_json(command: list[str]) -> None:
    from typer.testing import CliRunner

    from vajra.cli.kubectl.main import app

    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"  kubectl vajra {' '.join(command)}" in result.output
    assert "-o, --output" in result.output


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from vajra.cli.kubectl.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'rich', 'numpy', 'grpc', 'pydantic', 'yaml', 'vajra.config', 'vajra.operator', 'kopf'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, "--help"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "status" in output
    assert output.splitlines()[-1] == "[]"


def test_nothing_of_the_operators_extra_is_needed() -> None:
    modules = [
        ".".join(path.with_suffix("").parts)
        for path in sorted(path.relative_to(ROOT) for path in (ROOT / "vajra/cli/kubectl").rglob("*.py"))
        if path.name != "__main__.py"
    ]
    names = [module.removesuffix(".__init__") for module in modules]
    code = (
        f"import sys, {', '.join(names)}; print([name for name in ('kopf', 'aiohttp', 'grpc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["status"], 1, "kubectl is not on PATH"),
        (["status", "llama", "-A"], 2, "name its namespace with -n"),
        (["plan"], 2, "either -f FILE, or NAME and --set PATH=VALUE"),
        (["plan", "llama", "--set", "replicas=2"], 2, "allowed: spec.FIELD=VALUE"),
        (["plan", "llama", "--set", "spec.replicas=[1"], 2, "is no YAML value"),
        (["logs", "llama", "--gateway", "--rank", "1"], 2, "--gateway has no ranks"),
        (["drain", "llama"], 2, "REPLICA"),
        (["rolout"], 2, "No such command"),
        ([], 2, "Commands:"),
    ],
)
def test_faults_of_users_are_one_screen_without_a_traceback(arguments: list[str], code: int, says: str) -> None:
    done = plugin(*arguments, path="/nowhere")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""

"""The folder of a server's sockets: what a killed server leaves behind goes with the next start, and nothing else."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests.gateway.harness import Server, manifest

from vajra.gateway.runtime_folder import RuntimeFolder

# It dies as a killed server does, with its folder locked and full.
_DIE = """
import os, signal
from vajra.gateway import runtime_folder
runtime_folder._MAX_HOME_BYTES = 4096
(runtime_folder.RuntimeFolder().path / "deployment.json").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["XDG_RUNTIME_DIR", "TMPDIR"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the folders of the servers below are; its path is short, as sockets' have to be."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv(request.param, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("vajra.gateway.runtime_folder._MAX_HOME_BYTES", 4096)
    return tmp_path


def test_a_killed_server_s_folder_goes_with_the_next_start(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest's own folders have paths too long for sockets
        monkeypatch.setenv("XDG_RUNTIME_DIR", home)
        with Server(manifest(checkpoint)) as server:
            (folder,) = Path(home).iterdir()
            replicas = psutil.Process(server.process.pid).children(recursive=True)
            server.process.kill()
            server.process.wait()
        assert not psutil.wait_procs(replicas, timeout=30)[
            1
        ]  # they go when they hear of it, and use the folder until then
        assert folder.exists()
        with Server(manifest(checkpoint)) as server:
            (following,) = Path(home).iterdir()
            assert following != folder
            server.signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
        assert not following.exists()


def test_only_folders_of_the_dead_are_removed(home: Path) -> None:
    living = RuntimeFolder()
    assert living.path.parent == home
    assert stat.S_IMODE(living.path.stat().st_mode) == 0o700
    (living.path / "socket").touch()
    done = subprocess.run([sys.executable, "-c", _DIE])
    assert done.returncode == -signal.SIGKILL
    (left,) = set(home.iterdir()) - {living.path}
    assert list(left.iterdir())
    strangers = [home / "vajra-run-file", home / "vajra-run-link", home / "vajra-other"]
    strangers[0].touch()
    strangers[1].symlink_to(home / "vajra-other")
    strangers[2].mkdir()
    following = RuntimeFolder()
    assert not left.exists()
    assert set(home.iterdir()) == {living.path, following.path, *strangers}
    assert (living.path / "socket").exists()
    for folder in (living, following, living):
        folder.close()
    assert set(home.iterdir()) == set(strangers)


def test_a_home_too_long_for_sockets_or_not_writable_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    for name in (str(long), str(tmp_path / "missing"), "relative", ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        folder = RuntimeFolder()
        assert folder.path.parent == Path("/tmp")
        folder.close()

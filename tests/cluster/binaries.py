"""The cluster's programs: built once from kubebox/ and kept outside the work tree, or those of KUBEBUILDER_ASSETS."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).parent / "kubebox"


class MissingError(Exception):
    """Something that this machine lacks, and how to get it."""


@dataclass(frozen=True)
class Binaries:
    """A folder of programs under their usual names."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        """The program's path. Raises MissingError when the folder lacks it."""
        path = self.folder / name
        if not path.is_file():
            raise MissingError(f"{self.folder} has no {name}")
        return path

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_file()


def cache() -> Path:
    """What is made once and kept: vajra-cluster below $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vajra-cluster"


def assets() -> Binaries:
    """etcd, kube-apiserver and kubectl by envtest's convention: of KUBEBUILDER_ASSETS, else our own build's."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return built()
    found = Binaries(Path(folder))
    for name in ("etcd", "kube-apiserver", "kubectl"):
        found[name]
    return found


def built() -> Binaries:
    """All programs, from our own build. Raises MissingError when it has not been made."""
    for folder in (cache() / _name(_go_version()),) if _go_version() else sorted(cache().glob(_name("*"))):
        if folder.is_dir():
            return Binaries(folder)
    raise MissingError("the cluster's programs are not built: `make cluster-bin` builds them, which needs Go (minutes)")


def build() -> Binaries:
    """Builds all programs, unless that is done: about 7 minutes on two cores. Raises MissingError without Go."""
    go = _go_version()
    if go is None:
        raise MissingError(f"no Go: install Go {_required_go()} or newer (https://go.dev/dl) to build the programs")
    folder = cache() / _name(go)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            part = cache() / "building"
            shutil.rmtree(part, ignore_errors=True)
            note = f"building Kubernetes {kubernetes()} into {folder}: about 7 minutes on two cores"
            print(note, file=sys.stderr, flush=True)
            subprocess.run([_SOURCE / "build.sh", part], check=True, stdout=sys.stderr)
            part.rename(folder)
    return Binaries(folder)


def _name(go: str | None) -> str:
    """What the programs are built from: the release, our sources, and the compiler."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(_SOURCE)}\0".encode() + path.read_bytes())
    return f"{kubernetes()}-{digest.hexdigest()[:12]}-{go}"


def kubernetes() -> str:
    """The release that `build` builds, as v1.37.2."""
    return _module_line(r"\tk8s\.io/kubernetes (v\S+)")


def _required_go() -> str:
    return _module_line(r"go (\S+)")


def _module_line(pattern: str) -> str:
    match = re.search(rf"^{pattern}$", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert match is not None, f"go.mod has no line {pattern}"
    return match[1]


def _go_version() -> str | None:
    """As go1.26.8; None without Go."""
    if shutil.which("go") is None:
        return None
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run(
        ["go", "env", "GOVERSION"], cwd="/", env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()

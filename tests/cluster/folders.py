"""Where running clusters keep their state, and whose they are.

A folder belongs to the process that holds its lock; one that a person keeps has the file `kept`. A folder with neither
is what a killed process left, and the next one to start removes it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_NODE_CLUSTERS = 4


@dataclass
class Claim:
    """A folder that is ours until `release`, or until this process ends. It is named `api-…` or `nodes-0`."""

    folder: Path
    _lock: int

    def keep(self) -> None:
        """Leaves the folder to a person, who says when it goes."""
        (self.folder / "kept").touch()

    def release(self) -> None:
        os.close(self._lock)


def root() -> Path:
    """/run/vajra-cluster for root; others have theirs below $XDG_RUNTIME_DIR or the folder for temporary files.

    It is short, because Unix sockets are in it, whose paths have at most 107 bytes.
    """
    if os.geteuid() == 0:
        return Path("/run/vajra-cluster")
    home = os.environ.get("XDG_RUNTIME_DIR")
    return Path(home) / "vajra-cluster" if home else Path(tempfile.gettempdir()) / f"vajra-cluster-{os.geteuid()}"


def claim_api() -> Claim:
    """A new folder for a control plane."""
    root().mkdir(parents=True, exist_ok=True)
    while True:
        claim = _lock(Path(tempfile.mkdtemp(prefix="api-", dir=root())))
        if claim is not None:  # else another process took it for an abandoned one
            return claim


def claim_nodes() -> Claim | None:
    """The first free folder for a cluster with nodes, empty; None when all are taken."""
    root().mkdir(parents=True, exist_ok=True)
    for slot in range(MAX_NODE_CLUSTERS):
        folder = root() / f"nodes-{slot}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        claim = _lock(folder)
        if claim is not None:
            return claim
    return None


def slot_of(folder: Path) -> int | None:
    """The number of a cluster with nodes; None for another folder."""
    kind, _, number = folder.name.partition("-")
    return int(number) if kind == "nodes" else None


def all_folders() -> list[Path]:
    """The folders of all clusters of this user on this machine."""
    return sorted(path for path in root().glob("*-*") if path.is_dir())


def kept() -> list[Path]:
    """Those that a person keeps."""
    return [folder for folder in all_folders() if (folder / "kept").exists()]


def abandoned() -> Iterator[Claim]:
    """Folders that killed processes left, each claimed while the caller removes it."""
    for folder in all_folders():
        if (folder / "kept").exists():
            continue
        claim = _lock(folder)
        if claim is not None:
            yield claim
            claim.release()


def _lock(folder: Path) -> Claim | None:
    """None when another process has it, or has removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return Claim(folder, descriptor)
    except OSError:
        pass
    os.close(descriptor)
    return None

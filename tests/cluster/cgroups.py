"""A node's own root among the machine's control groups.

Two kubelets with one root would each take the other's pods for orphans and kill them.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


def is_unified() -> bool:
    """Whether the machine has version 2 alone."""
    return (_ROOT / "cgroup.controllers").exists()


def create(name: str) -> None:
    """Makes the root, with all controllers."""
    for folder in _folders(name):
        folder.mkdir(exist_ok=True)
    if is_unified():
        for folder in (_ROOT, _ROOT / name):
            for controller in _CONTROLLERS:
                with suppress(OSError):  # a controller that this kernel has not
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
    else:
        for setting in ("cpuset.cpus", "cpuset.mems"):  # a new group of version 1 has neither
            (_ROOT / "cpuset" / name / setting).write_text((_ROOT / "cpuset" / setting).read_text())


def remove(name: str) -> None:
    """Removes the root and all below it; the processes in it must have ended."""
    for folder in _folders(name):
        below = sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: len(path.parts))
        for path in reversed([folder, *below]):
            with suppress(OSError):
                path.rmdir()


def _folders(name: str) -> list[Path]:
    return [_ROOT / name] if is_unified() else [path / name for path in _ROOT.iterdir() if path.is_dir()]

"""What this machine has, or the cgroup this process runs in allows: devices, memory, cores."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def _own_cgroups(controller: str) -> list[Path]:
    """This process's cgroup folders that may limit `controller`, innermost first, up to the root (v2, then v1)."""
    folders: list[Path] = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = _CGROUP
        elif controller in controllers.split(","):
            root = _CGROUP / controller
        else:
            continue
        folder = root / path.lstrip("/")
        folders += [folder, *(p for p in folder.parents if p == root or root in p.parents)]
    return folders or [_CGROUP, _CGROUP / controller]


def _numbers(path: Path) -> list[int] | None:
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):  # absent, or "max"
        return None


def memory_limit_bytes() -> int:
    """The smallest memory limit of this process's cgroups, or the machine's memory."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _own_cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            numbers = _numbers(folder / name)
            if numbers and numbers[0] > 0:
                limit = min(limit, numbers[0])
    return limit


def accelerators() -> tuple[str, ...]:
    """The kinds of device that this machine, or this process's container, has."""
    return ("CPU", "GPU") if Path("/dev/nvidiactl").exists() else ("CPU",)


def num_cores() -> int:
    """Cores this process may use: its affinity, cut to the CPU quota of its cgroups; at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _own_cgroups("cpu"):
        numbers = _numbers(folder / "cpu.max")
        if numbers is None:
            quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
            numbers = [*quota, *period] if quota and period else None
        if numbers and len(numbers) == 2 and numbers[0] > 0 and numbers[1] > 0:
            cores = min(cores, numbers[0] / numbers[1])
    return max(1, int(cores))


def oom_kills(folders: Iterable[Path] | None = None) -> int | None:
    """Processes of this process's cgroup that the kernel has killed for want of memory so far; None when it does not
    say. `folders` are the cgroup's and its parents', innermost first; the first that counts is believed."""
    for folder in _own_cgroups("memory") if folders is None else folders:
        for name in ("memory.events", "memory.oom_control"):
            try:
                counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                return int(counts["oom_kill"])
            except (OSError, ValueError, KeyError):
                continue
    return None

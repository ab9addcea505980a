"""What the engine knows of its machine: processors, kernel family, and a pool that shares loops."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.ops.support import FAMILIES, HOST_FAMILIES, ops, pack, random, same_bits


def machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> str:
    """A made-up /proc and cgroup tree under root."""
    files = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return str(root)


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct"

# Quotas are below one or two processors: tests run on machines of any size.
CASES = {
    "no limit": ("0::/a/b", V2, {"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
    "v2 own": ("0::/a/b", V2, {"sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 1),
    "v2 of an ancestor": (
        "0::/a/b",
        V2,
        {"sys/fs/cgroup/a/cpu.max": "100000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"},
        1,
    ),
    "v2 at the mount": ("0::/", V2, {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    "v2 in a container": (
        "0::/kubepods/pod1/c1",
        V2.replace(" / /sys", " /kubepods/pod1/c1 /sys"),
        {"sys/fs/cgroup/cpu.max": "120000 100000"},
        1,
    ),
    "v1": (
        "4:cpu,cpuacct:/a\n1:name=systemd:/x",
        V1,
        {
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        },
        1,
    ),
    "v1 without a limit": (
        "4:cpu,cpuacct:/a",
        V1,
        {
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        },
        None,
    ),
    "no cgroups": ("", "", {}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_usable_cpus(tmp_path: Path, case: str) -> None:
    cgroup, mounts, files, expected = CASES[case]
    everything = len(os.sched_getaffinity(0))
    assert ops.usable_cpus(machine(tmp_path, cgroup, mounts, files)) == (expected or everything)
    assert 1 <= ops.usable_cpus() <= everything


def selected(value: str) -> subprocess.CompletedProcess[str]:
    """A process that asks for a kernel family."""
    code = "from vajra.engine import _native; print(_native.ops.selected_isa())"
    env = {**os.environ, "VAJRA_ISA": value}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_the_best_family_is_taken_and_another_can_be_named() -> None:
    intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    best = "avx512" if ops.host_isa() == "avx512fma" and not intel else ops.host_isa()
    assert selected("").stdout.strip() == best
    for family in FAMILIES:
        done = selected(family)
        if family in HOST_FAMILIES:
            assert done.stdout.strip() == family
        else:
            assert f"supports at most {ops.host_isa()}" in done.stderr
    assert "allowed are scalar, avx2, avx512, avx512fma, amx" in selected("avx1024").stderr


def test_no_engine_runs_on_emulated_tiles() -> None:
    done = selected("amx-emulated")
    assert done.returncode != 0
    assert "for tests of kernels" in done.stderr
    assert "allowed are scalar, avx2, avx512, avx512fma, amx" in done.stderr


def test_amx_is_used_or_absent_or_its_refusal_has_a_reason() -> None:
    features = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    refusal = ops.amx_refusal()
    if ops.host_isa() == "amx" or "amx_bf16" not in features.split():
        assert refusal == ""
    elif ops.host_isa() == "avx512fma":
        assert "arch_prctl" in refusal or "XCR0" in refusal


def test_a_pool_larger_than_the_machine_does_all_work_once() -> None:
    packed = pack(random(1, 300, 40), "float32")
    kernels = ops.Ops("scalar", 16)
    rows, c = random(2, 3, 40), np.zeros((3, 300), np.float32)
    once = kernels.gemm(rows, packed)
    for _ in range(300):  # each adds `once`, if every item runs exactly once
        kernels.gemm(rows, packed, None, c)
    total = np.zeros_like(c)
    for _ in range(300):
        total += once
    assert same_bits(c, total)


def test_pools_come_and_go() -> None:
    packed, rows = pack(random(1, 64, 16), "float32"), random(2, 2, 16)
    expected = ops.Ops("scalar", 1).gemm(rows, packed)
    for threads in [2, 3, 4] * 10:
        assert same_bits(ops.Ops("scalar", threads).gemm(rows, packed), expected)

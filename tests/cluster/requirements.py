"""What this machine lacks for a cluster, in words."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.binaries import MissingError
from tests.cluster.containerd import CNI_PLUGINS

# Debian's package of each program that nodes and images need.
PACKAGES = {
    "buildah": "buildah",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "runc": "runc",
}
# And of those that single tests need.
MORE_PACKAGES = {"prometheus": "prometheus"}


def missing_packages() -> list[str]:
    """Debian's packages that are not installed."""
    packages = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if not (CNI_PLUGINS / "bridge").exists():
        packages.add("containernetworking-plugins")
    return sorted(packages)


def more_missing_packages() -> list[str]:
    """Those without which some tests are left out."""
    return [package for program, package in MORE_PACKAGES.items() if shutil.which(program) is None]


def missing_for_nodes() -> list[str]:
    """Why no node can run here; nothing when one can."""
    if sys.platform != "linux":
        return ["nodes need Linux"]
    found = []
    if os.geteuid() != 0:
        found.append("nodes need root, for network namespaces and containers")
    if packages := missing_packages():
        found.append(f"packages are missing: apt-get install {' '.join(packages)}")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        found.append("the kernel has no overlay file system: modprobe overlay")
    try:
        binaries.built()
    except MissingError as e:
        found.append(str(e))
    return found

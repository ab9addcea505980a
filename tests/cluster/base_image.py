"""The images' base, where there is no registry to pull it from: made of Debian's packages, under its own name."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster import buildah
from tests.cluster.binaries import cache

_NAME = "docker.io/library/python:3.11-slim-bookworm"
_PACKAGES = ("ca-certificates", "libpython3.11-dev", "python3", "python3-pip", "python3-venv")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LINKS = {"python": "python3", "python3": "python3", "python3.11": "python3.11", "pip": "pip3", "pip3": "pip3"}
_NOT_NEEDED = (
    "dev", "proc", "sys", "var/cache/apt", "var/lib/apt/lists", "usr/lib/python3.11/EXTERNALLY-MANAGED",
    "usr/lib/x86_64-linux-gnu/libpython3.11.a", "usr/lib/python3.11/config-3.11-x86_64-linux-gnu",
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man",
)  # fmt: skip


def key() -> str:
    """What it is made from, in short."""
    recipe = f"{_PACKAGES}{_LINKS}{_NOT_NEEDED}".encode() + _CERTIFICATES.read_bytes()
    return hashlib.sha256(recipe).hexdigest()[:12]


def build() -> None:
    """Puts it into buildah's store; makes it, unless that was done, which takes a minute. Raises RuntimeError."""
    made = f"localhost/base:{key()}"
    if not buildah.has(made):
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            _debootstrap(Path(scratch) / "rootfs")
            buildah.build(made, 'FROM scratch\nCOPY rootfs /\nCMD ["python3"]\n', Path(scratch))
    buildah.tag(made, _NAME)


def _debootstrap(rootfs: Path) -> None:
    """A Debian with Python, laid out as Docker Hub's image is, as far as our Dockerfiles can tell."""
    packages = ",".join(_PACKAGES)
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(rootfs), _mirror()]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"debootstrap failed:\n{(result.stdout + result.stderr)[-4000:]}")
    for link, program in _LINKS.items():
        (rootfs / "usr/local/bin" / link).symlink_to(f"/usr/bin/{program}")
    for name in _NOT_NEEDED:
        path = rootfs / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # A build trusts whom this machine trusts.
    shutil.copyfile(_CERTIFICATES, rootfs / "etc/ssl/certs/ca-certificates.crt")


def _mirror() -> str:
    """Where this machine's apt has Debian 12 from; Debian's own address for a machine that has another system."""
    command = ["apt-get", "indextargets", "--format=$(REPO_URI)"]
    command += ["Codename: bookworm", "Component: main", "Created-By: Packages"]
    found = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    return next((uri for uri in found if uri.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian")

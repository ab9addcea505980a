"""The images that the tests run, built with buildah from the project's own Dockerfiles. It needs root, and no registry.

Their base, python:3.11-slim-bookworm, is made here from Debian's packages under the same name.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import folders
from tests.cluster.binaries import Binaries, cache
from tests.cluster.node import PAUSE_IMAGE

PROJECT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
OPERATOR = "localhost/vajra-operator:test"
REPLICA = "localhost/vajra:test"  # also the gateway's
MODEL = "smollm2-135m-instruct"  # is in REPLICA

_PACKAGES = ("ca-certificates", "libpython3.11-dev", "python3", "python3-pip", "python3-venv")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PYTHON_LINKS = {"python": "python3", "python3": "python3", "python3.11": "python3.11", "pip": "pip3", "pip3": "pip3"}
_NOT_NEEDED = (
    "dev", "proc", "sys", "var/cache/apt", "var/lib/apt/lists", "usr/lib/python3.11/EXTERNALLY-MANAGED",
    "usr/lib/x86_64-linux-gnu/libpython3.11.a", "usr/lib/python3.11/config-3.11-x86_64-linux-gnu",
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man",
)  # fmt: skip


def build() -> None:
    """Builds OPERATOR and REPLICA from this tree; what has not changed is not built again. Raises RuntimeError."""
    _build_base()
    _build(OPERATOR, (PROJECT / "Dockerfile.operator").read_text(), PROJECT)
    _build(REPLICA, (PROJECT / "Dockerfile.replica").read_text(), PROJECT, {"MODEL": MODEL})


def pause(binaries: Binaries, folder: Path) -> Path:
    """The archive of the image that holds a pod's namespaces."""
    _build(PAUSE_IMAGE, 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n', binaries.folder)
    return archive(PAUSE_IMAGE, folder)


def archive(image: str, folder: Path) -> Path:
    """Writes an image into a docker archive in a folder."""
    path = folder / f"{hashlib.sha256(image.encode()).hexdigest()[:12]}.tar"
    path.unlink(missing_ok=True)
    _buildah("push", "--quiet", _policy(), image, f"docker-archive:{path}:{image}")
    return path


def compressed_bytes(image: str) -> int:
    """What a registry would hold of an image, and a node fetch."""
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        _buildah("push", "--quiet", _policy(), "--format=oci", "--compression-format=gzip", image, f"dir:{scratch}")
        return sum(path.stat().st_size for path in Path(scratch).iterdir())


def _build(image: str, dockerfile: str, context: Path, arguments: Mapping[str, str] | None = None) -> None:
    settings = ["--layers", "--pull-never", "--isolation=chroot", "--network=host", _policy()]
    settings += [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
    _buildah("bud", *settings, f"--tag={image}", "--file=-", str(context), stdin=dockerfile)


def _build_base() -> None:
    """Makes BASE, once for these packages and this machine's certificates."""
    key = hashlib.sha256(f"{_PACKAGES}{_PYTHON_LINKS}{_NOT_NEEDED}".encode() + _CERTIFICATES.read_bytes()).hexdigest()
    made = f"localhost/base:{key[:12]}"
    if not _buildah("images", "--quiet", f"--filter=reference={made}").strip():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            rootfs = Path(scratch) / "rootfs"
            _debootstrap(rootfs)
            _build(made, 'FROM scratch\nCOPY rootfs /\nCMD ["python3"]\n', Path(scratch))
    _buildah("tag", made, BASE)


def _debootstrap(rootfs: Path) -> None:
    """A Debian with Python, laid out as the image of Docker's hub is, as far as Dockerfiles can tell."""
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        "bookworm",
        str(rootfs),
        _mirror(),
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"debootstrap failed: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    for link, program in _PYTHON_LINKS.items():
        (rootfs / "usr/local/bin" / link).symlink_to(f"/usr/bin/{program}")
    for name in _NOT_NEEDED:
        path = rootfs / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # pip of a build trusts whom this machine trusts.
    shutil.copyfile(_CERTIFICATES, rootfs / "etc/ssl/certs/ca-certificates.crt")


def _mirror() -> str:
    """Where this machine's apt has Debian 12 from; Debian's own mirror for one that has not."""
    form = [
        "apt-get",
        "indextargets",
        "--format=$(REPO_URI)",
        "Codename: bookworm",
        "Component: main",
        "Created-By: Packages",
    ]
    found = subprocess.run(form, check=False, capture_output=True, text=True).stdout.split()
    return next((uri for uri in found if uri.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian")


def _policy() -> str:
    """buildah asks for a policy of signatures, which Debian leaves to other packages; here nothing is pulled."""
    path = cache() / "policy.json"
    path.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return f"--signature-policy={path}"


def _buildah(*arguments: str, stdin: str | None = None) -> str:
    """Runs buildah with a store of our own. Raises RuntimeError with the end of what it said."""
    store, run = cache() / "images", folders.root() / "buildah"
    command = ["buildah", f"--root={store}", f"--runroot={run}", "--storage-driver=overlay", *arguments]
    result = subprocess.run(command, check=False, input=stdin, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"buildah {arguments[0]} failed:\n{(result.stdout + result.stderr)[-4000:]}")
    return result.stdout

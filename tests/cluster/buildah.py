"""Building and storing images with buildah: no daemon, no registry. It needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import folders
from tests.cluster.binaries import cache

_SECONDS = 1800


def build(image: str, dockerfile: str, context: Path, arguments: Mapping[str, str] | None = None) -> None:
    """Builds an image under this name; steps that were done before are not done again. Raises RuntimeError."""
    settings = ["--layers", "--pull-never", "--isolation=chroot", "--network=host", _policy()]
    settings += [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
    _run("bud", *settings, f"--tag={image}", "--file=-", str(context), stdin=dockerfile)


def tag(image: str, other: str) -> None:
    """Gives an image another name."""
    _run("tag", image, other)


def push(image: str, target: str, *settings: str) -> None:
    """Writes an image, to `docker-archive:PATH:NAME` or `dir:PATH`."""
    _run("push", "--quiet", _policy(), *settings, image, target)


def has(image: str) -> bool:
    """Whether it is in the store."""
    return bool(_run("images", "--quiet", f"--filter=reference={image}").strip())


def _policy() -> str:
    """buildah asks for a policy of signatures, which Debian leaves to other packages; here nothing is pulled."""
    path = cache() / "policy.json"
    path.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return f"--signature-policy={path}"


def _run(*arguments: str, stdin: str | None = None) -> str:
    """Runs buildah with a store of our own. Raises RuntimeError with the end of what it said."""
    store, run = cache() / "images", folders.root() / "buildah"
    command = ["buildah", f"--root={store}", f"--runroot={run}", "--storage-driver=overlay", *arguments]
    result = subprocess.run(command, check=False, input=stdin, capture_output=True, text=True, timeout=_SECONDS)
    if result.returncode != 0:
        raise RuntimeError(f"buildah {arguments[0]} failed:\n{(result.stdout + result.stderr)[-4000:]}")
    return result.stdout

"""The images that the tests run, built from the project's own Dockerfiles."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import base_image, buildah
from tests.cluster.binaries import Binaries, cache
from tests.cluster.containerd import PAUSE_IMAGE

PROJECT = Path(__file__).parents[2]
OPERATOR = "docker.io/library/vajra-operator:0.1.0"  # what a runtime makes of the names in manifests/install.yaml
REPLICA = "docker.io/library/vajra-replica:0.1.0"  # also the gateway's
CLIENT = "localhost/vajra-client:test"  # REPLICA with the openai package, for clients that run as pods
MODEL = "smollm2-135m-instruct"  # is in REPLICA
IMAGES = (OPERATOR, REPLICA, CLIENT)

DOCKERFILES = {
    OPERATOR: "Dockerfile.operator",
    REPLICA: "Dockerfile.replica",
    CLIENT: "tests/cluster/Dockerfile.client",
}


def build() -> None:
    """Builds IMAGES from this tree, each unless that was done. Raises RuntimeError."""
    cache().mkdir(parents=True, exist_ok=True)
    base_image.build()
    for image in IMAGES:
        if not buildah.has(stored(image)):
            print(f"building {image}: a minute or two, the first time more", file=sys.stderr, flush=True)
            dockerfile = (PROJECT / DOCKERFILES[image]).read_text()
            buildah.build(stored(image), dockerfile, PROJECT, _arguments(image))


def archive(image: str, folder: Path) -> Path:
    """Writes one of IMAGES, which is built, into a docker archive in a folder."""
    return _archive(stored(image), image, folder)


def pause(binaries: Binaries, folder: Path) -> Path:
    """Builds the image that holds a pod's namespaces, unless that was done, and writes its archive."""
    if not buildah.has(stored_pause(binaries)):
        recipe = 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'
        buildah.build(stored_pause(binaries), recipe, binaries.folder)
    return _archive(stored_pause(binaries), PAUSE_IMAGE, folder)


def compressed_bytes(image: str) -> int:
    """What a registry would hold of one of IMAGES, and a node fetch."""
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        buildah.push(stored(image), f"dir:{scratch}", "--format=oci", "--compression-format=gzip")
        return sum(path.stat().st_size for path in Path(scratch).iterdir())


def stored(image: str) -> str:
    """The name of one of IMAGES in buildah's store, which tells what it is built from: trees share the store."""
    digest = hashlib.sha256(f"{base_image.key()} {sorted(_arguments(image).items())}".encode())
    digest.update((PROJECT / DOCKERFILES[image]).read_bytes())
    for path in _context():
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return f"{image.partition(':')[0]}:{digest.hexdigest()[:12]}"


def stored_pause(binaries: Binaries) -> str:
    """The pause image's name in buildah's store."""
    return f"localhost/pause:{binaries.folder.name}"


def _arguments(image: str) -> dict[str, str]:
    if image == CLIENT:
        return {"REPLICA": stored(REPLICA)}
    return {"MODEL": MODEL} if image == REPLICA else {}


def _context() -> Iterator[Path]:
    """The files that a build sees: what .dockerignore lets in."""
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            path = PROJECT / line[1:]
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            yield from (file for file in files if file.is_file() and file.suffix not in (".pyc", ".so"))


def _archive(stored: str, image: str, folder: Path) -> Path:
    path = folder / f"{stored.rpartition('/')[2].replace(':', '-')}.tar"
    buildah.push(stored, f"docker-archive:{path}:{image}")
    return path

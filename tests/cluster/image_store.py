"""containerd's data with the images in place, made once per set of images: a node starts with a copy.

Importing an image takes longer than starting a node. Layers never change, so that copies share their files by hard
links; only containerd's databases are copied.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import containerd, folders, images
from tests.cluster.binaries import Binaries, cache

_KEPT = 2  # stores: of the last sets of images


def prepare(binaries: Binaries, names: Sequence[str], target: Path) -> None:
    """Makes `target`, the data of a containerd that has the pause image and these, which are built.

    It lies below `cache()`, as a hard link must. Raises RuntimeError, or what `containerd.Containerd` raises.
    """
    stores = cache() / "stores"
    stores.mkdir(parents=True, exist_ok=True)
    store = stores / _key(binaries, names)
    with _locked(stores):
        if store.is_dir():
            store.touch()  # used
        else:
            with tempfile.TemporaryDirectory(dir=stores) as scratch:
                _fill(binaries, names, Path(scratch))
                (Path(scratch) / "data").rename(store)
            for old in sorted(stores.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
                shutil.rmtree(old)
        subprocess.run(["cp", "--archive", "--link", store, target], check=True)
    for shared in target.rglob("*.db"):
        own = shared.with_suffix(".own")
        shutil.copyfile(shared, own)
        own.rename(shared)


def _key(binaries: Binaries, names: Sequence[str]) -> str:
    stored = [images.stored_pause(binaries), *map(images.stored, names)]
    return hashlib.sha256(" ".join(stored).encode()).hexdigest()[:12]


def _fill(binaries: Binaries, names: Sequence[str], scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folders.root(), prefix="store") as state:
        daemon = containerd.Containerd(Path(state), scratch / "data")
        try:
            daemon.start()
            daemon.load(images.pause(binaries, scratch))
            for name in names:
                daemon.load(images.archive(name, scratch))
        finally:
            daemon.stop()


@contextmanager
def _locked(stores: Path) -> Iterator[None]:
    with (stores / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

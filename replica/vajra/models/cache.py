"""The folder where fetched models live, and the lock that makes concurrent fetches safe."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vajra.models.errors import ModelError

# Called with what is going on, how much of it is done, and how much there is (0: unknown); bytes for downloads.
Progress = Callable[[str, int, int], None]


def no_progress(stage: str, done: int, total: int) -> None:
    """A Progress that shows nothing."""


def cache_dir() -> Path:
    """$VAJRA_CACHE, or vajra below $XDG_CACHE_HOME or ~/.cache. It need not exist yet."""
    given = os.environ.get("VAJRA_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vajra"


def make_dir(path: Path) -> Path:
    """Creates a cache folder. Raises ModelError when it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ModelError(f"{path} cannot be created: {e.strerror}. Set VAJRA_CACHE to a folder that you own.") from e
    return path


@contextmanager
def locked(name: str, progress: Progress = no_progress) -> Iterator[None]:
    """Holds the lock `name` over all processes that share the cache; the system frees a dead holder's lock."""
    path = make_dir(cache_dir() / "locks") / f"{name}.lock"
    with path.open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that fetches it", 0, 0)
            fcntl.flock(f, fcntl.LOCK_EX)
        yield

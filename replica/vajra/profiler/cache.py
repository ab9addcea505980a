"""Profiles kept on this machine: one folder for each identity, below the models' cache."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vajra.models.cache import cache_dir
from vajra.prediction import Identity, Profile, ProfileError

log = logging.getLogger(__name__)

PROFILE = "profile.json"


def profiles_dir() -> Path:
    """Where profiles are kept: below $VAJRA_CACHE, as packed weights are. It need not exist yet."""
    return cache_dir() / "profiles"


def folder_of(identity: Identity) -> Path:
    """Where an identity's profile and its measurements are kept."""
    return profiles_dir() / identity.key


def cached(identity: Identity) -> Profile | None:
    """The kept profile of this identity; None where there is none that can be used."""
    path = folder_of(identity) / PROFILE
    if not path.exists():
        return None
    try:
        profile = Profile.read(path)
        profile.check(identity)
    except ProfileError as e:
        log.warning("the kept profile is not used: %s", e)
        return None
    return profile


def all_cached() -> list[tuple[Path, Profile]]:
    """Every kept profile that can be read, with its path."""
    found = []
    for path in sorted(profiles_dir().glob(f"*/{PROFILE}")):
        try:
            found.append((path, Profile.read(path)))
        except ProfileError as e:
            log.warning("%s", e)
    return found


def cached_or_measured(
    identity: Identity, measure: Callable[[Path | None], Profile], waiting: Callable[[], None] = lambda: None
) -> Profile:
    """The kept profile, or one that `measure` makes in a folder given to it, and that is kept then.

    Of several processes that start together one measures and the others wait; `waiting` is called before that. A
    cache that cannot be written costs a warning, and `measure` gets no folder.
    """
    found = cached(identity)
    if found is not None:
        return found
    folder = folder_of(identity)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, waiting))
        except OSError as e:
            log.warning("the profile is not kept in %s: %s", folder, e.strerror)
            return measure(None)
        found = cached(identity)  # another process may have measured meanwhile
        if found is None:
            found = measure(folder)
            try:
                found.write(folder / PROFILE)
            except OSError as e:
                log.warning("the profile is not kept in %s: %s", folder, e.strerror)
        return found


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a profile's lock over all processes; the system frees a dead holder's."""
    with folder.with_suffix(".lock").open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(f, fcntl.LOCK_EX)
        yield

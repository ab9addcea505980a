"""A private folder for the life of this process; the next one to start removes what a killed one left behind.

Only the standard library is imported here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

CONTROL_SOCKET = "control.sock"  # of the server whose folder it is
_PREFIX = "vajra-run-"
# A Unix socket's path has at most 107 bytes (103 on macOS); the name of the folder and of a socket in it take 45.
_MAX_HOME_BYTES = 58


class RuntimeFolder:
    """A folder of mode 0700, locked (flock) as long as `lock_fd` is open here or in a child that inherited it.

    A lock ends with its last holder, however that ends, so a folder that can be locked belongs to nobody alive.
    """

    def __init__(self) -> None:
        home = _home()
        _sweep(home)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
            lock = _lock(self.path)
            if lock is not None:  # else another process's sweep was quicker than we
                break
        self.lock_fd = lock

    def close(self) -> None:
        """Removes the folder. Idempotent."""
        if self.lock_fd < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock_fd)
        self.lock_fd = -1


def control_sockets() -> list[Path]:
    """Those of this user's running servers."""
    sockets = _home().glob(f"{_PREFIX}*/{CONTROL_SOCKET}")
    return sorted(path for path in sockets if path.stat().st_uid == os.geteuid())


def _home() -> Path:
    """$XDG_RUNTIME_DIR, else the folder for temporary files; /tmp where that would make sockets' paths too long."""
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if os.path.isabs(name) and len(os.fsencode(name)) <= _MAX_HOME_BYTES and os.access(name, os.W_OK | os.X_OK):
            return Path(name)
    return Path("/tmp")


def _sweep(home: Path) -> None:
    """Removes this user's folders whose owners are dead."""
    for path in home.glob(f"{_PREFIX}*"):
        fd = _lock(path)
        if fd is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


def _lock(path: Path) -> int | None:
    """The descriptor of a folder that is now locked; None when it is another's, or gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, named = os.fstat(fd), os.stat(path, follow_symlinks=False)
        if opened.st_uid == os.geteuid() and os.path.samestat(opened, named):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None

"""Daemons that one process starts and perhaps another one stops."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class DaemonError(Exception):
    """A daemon has ended, or did not become ready."""


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same pid by its start in clock ticks."""

    pid: int
    started: int

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """The process that has this pid now; None when there is none, or one that has ended and was not reaped."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] == "Z" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Process.find(self.pid) == self

    @property
    def resident_mib(self) -> int:
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) // 1024
        return 0

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL to what is left after the grace."""
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            if not self.alive:
                break
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            end = time.monotonic() + seconds
            while self.alive and time.monotonic() < end:
                time.sleep(0.02)
        with suppress(ChildProcessError):  # another process's child
            os.waitpid(self.pid, os.WNOHANG)


class Daemons:
    """The daemons of one folder: `NAME.log` is what each says, `NAME.pid` says which process it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, name: str, command: Sequence[object], *, environment: Mapping[str, str] | None = None) -> None:
        """Starts a daemon in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = os.open(self._log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            pid = os.posix_spawnp(
                str(command[0]),
                [str(part) for part in command],
                {**os.environ, **(environment or {})},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)
        process = Process.find(pid)
        if process is not None:  # else `check` says that it has ended
            self._pid_file(name).write_text(f"{process.pid} {process.started}")

    def check(self, name: str) -> None:
        """Raises DaemonError, with the end of its log, when a daemon has ended."""
        process = self._process(name)
        if process is None or not process.alive:
            raise DaemonError(f"{name} has ended. The end of {self._log(name)}:\n{self.tail(name)}")

    def stop(self, name: str, grace_seconds: float = 8) -> None:
        """Ends a daemon; that it has ended, or never was, is no error."""
        process = self._process(name)
        if process is not None:
            process.stop(grace_seconds)
        self._pid_file(name).unlink(missing_ok=True)

    def running(self) -> dict[str, Process]:
        """The daemons that are alive, by name."""
        found = {path.stem: self._process(path.stem) for path in sorted(self._folder.glob("*.pid"))}
        return {name: process for name, process in found.items() if process is not None and process.alive}

    def tail(self, name: str, lines: int = 20) -> str:
        """The end of its log."""
        try:
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError as e:
            return f"(no log: {e.strerror})"

    def _process(self, name: str) -> Process | None:
        try:
            pid, started = self._pid_file(name).read_text().split()
        except (OSError, ValueError):
            return None
        return Process(int(pid), int(started))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _pid_file(self, name: str) -> Path:
        return self._folder / f"{name}.pid"


def free_port(address: str) -> int:
    """A port that nothing listens at now, of an address of this machine; of all for the empty one."""
    with socket.socket() as s:
        s.bind((address, 0))
        port: int = s.getsockname()[1]
        return port

"""Telling measurements that other processes disturbed: this process's threads waited for a processor meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.04  # of the time measured, waited by all threads together, that is no disturbance yet
_LEAST = 0.2  # of a disturbed measurement that counts
_WAKING = 1e-4  # seconds; every thread that is woken waits a little


def seconds_waited() -> float:
    """Seconds that this process's threads were ready to run and waited for a processor, and, on a virtual machine, that
    a processor waited for its host. What the system does not count is 0."""
    waited = 0
    try:
        threads = os.listdir("/proc/self/task")
        stolen = int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
    for thread in threads:
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or nothing is counted
            waited += int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1])
    return waited / 1e9 + stolen / (os.cpu_count() or 1)


@dataclass(frozen=True)
class Mark:
    """A moment."""

    waited: float
    clock: float


class Calm:
    """Judges measurements. Disturbed ones are to be thrown away, until that has cost `patience` seconds; from then on
    they count, less what the threads waited: a machine that is never calm yields a profile, too."""

    def __init__(self, patience: float, threads: int) -> None:
        """`threads` share what is measured."""
        self._patience, self._threads = patience, threads
        self.lost = 0.0  # seconds of what was thrown away
        self.disturbed = 0  # that counted all the same

    def mark(self) -> Mark:
        """Before a measurement."""
        return Mark(seconds_waited(), time.perf_counter())

    def share(self, since: Mark) -> float:
        """By what to multiply what was measured since then: 1 for a calm measurement, 0 for one that does not count."""
        elapsed = time.perf_counter() - since.clock
        waited = seconds_waited() - since.waited
        if waited <= _SHARE * elapsed + _WAKING:
            return 1.0
        if self._patience <= 0:
            self.disturbed += 1
            # Each thread waited so long; together they went on when the last one did.
            return max(_LEAST, 1 - waited / (self._threads * elapsed))
        self._patience -= elapsed
        self.lost += elapsed
        return 0.0

"""Measurements that other processes disturb are told from calm ones."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vajra.profiler.calm import Calm
from vajra.worker.resources import num_cores

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not count how long threads wait"
)


@pytest.fixture
def busy() -> Iterator[None]:
    """More programs at work than there are cores."""
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3 * num_cores())]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def work(seconds: float) -> None:
    """Takes so much processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_disturbed_measurements_are_thrown_away_while_patience_lasts(busy: None) -> None:
    calm = Calm(patience=1e-3, threads=1)
    before = calm.mark()
    work(0.1)
    assert calm.share(before) == 0
    assert calm.lost > 0
    assert calm.disturbed == 0
    # Now they count, without the time that was waited.
    before = calm.mark()
    work(0.1)
    assert 0 < calm.share(before) < 1
    assert calm.disturbed == 1

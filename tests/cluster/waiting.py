"""Waiting for what a cluster will do in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], *, seconds: float = 60, interval: float = 0.1) -> T:
    """What `check` returns, once it returns without an AssertionError; other errors pass.

    Raises the last AssertionError when the time is over.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError as e:
            if time.monotonic() > end:
                e.add_note(f"waited {seconds:g} seconds for it")
                raise
        time.sleep(interval)

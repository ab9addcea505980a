"""A pass's own time: what is left of it without the waits for the API server and for pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class _Waited:
    seconds: float = 0.0


_pass: ContextVar[_Waited | None] = ContextVar("_pass", default=None)  # that this task makes


@contextmanager
def measured(observe: Callable[[float], None]) -> Iterator[None]:
    """Tells `observe` the seconds of the context, without those in `waiting` inside it."""
    waited, started = _Waited(), time.perf_counter()
    token = _pass.set(waited)
    try:
        yield
    finally:
        _pass.reset(token)
        observe(time.perf_counter() - started - waited.seconds)


@contextmanager
def waiting() -> Iterator[None]:
    """Others work for this task, in this context. Not to be nested."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if (waited := _pass.get()) is not None:
            waited.seconds += time.perf_counter() - started

"""A wake-up for many waiters."""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes whoever waits at the moment; those who come later wait for the next one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def send(self) -> None:
        """Wakes all that wait."""
        self._event.set()
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set by the next `send`; take it before looking at the state that it announces."""
        return self._event

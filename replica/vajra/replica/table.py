"""The sequences of this replica that have not ended, by both of their ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from vajra.replica.running import Running


class SequenceTable:
    """A caller names a sequence by text, scheduler and engine by a number, which is never used twice."""

    def __init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._numbers: dict[str, int] = {}
        self._next = 1
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        """Oldest first; sequences may be removed meanwhile."""
        return iter(list(self._running.values()))

    def __contains__(self, sequence_id: str) -> bool:
        return sequence_id in self._numbers

    def get(self, seq_id: int) -> Running | None:
        """None when it has ended."""
        return self._running.get(seq_id)

    def next_seq_id(self) -> int:
        """A number for a new sequence."""
        number, self._next = self._next, self._next + 1
        return number

    def add(self, running: Running) -> None:
        """Takes a sequence in."""
        self._running[running.sequence.seq_id] = running
        self._numbers[running.sequence_id] = running.sequence.seq_id
        self._empty.clear()

    def remove(self, running: Running) -> None:
        """It has ended."""
        del self._running[running.sequence.seq_id]
        del self._numbers[running.sequence_id]
        if not self._running:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Until no sequence is left."""
        await self._empty.wait()

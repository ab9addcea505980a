"""What one client has still to read: deltas that merge, so that a slow client never holds anything up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vajra.gateway.errors import ClientTooSlow, RequestError
from vajra.gateway.request import Delta

MAX_UNREAD = 1 << 15


class DeltaStream:
    """Between the choices of one request, which push and never wait, and its one reader.

    Unread deltas of a choice merge into one. When more than `max_unread` entries (a token is one, each of its
    alternatives another) wait, the stream fails with ClientTooSlow. `on_failure` is called when the stream fails.
    """

    def __init__(self, num_choices: int, *, max_unread: int, on_failure: Callable[[], None]) -> None:
        self._open = num_choices  # choices whose last delta was not pushed yet
        self._max_unread = max_unread
        self._on_failure = on_failure
        self._pending: dict[int, Delta] = {}
        self._unread = 0
        self._error: RequestError | None = None
        self._wake = asyncio.Event()

    def push(self, delta: Delta) -> None:
        """Adds a delta; its `finish_reason` closes the choice."""
        if self._error is not None:
            return
        waiting = self._pending.get(delta.index)
        if waiting is None:
            self._pending[delta.index] = delta
        else:
            waiting.merge(delta)
        self._unread += len(delta.token_ids) + sum(len(entry.alternatives) for entry in delta.logprobs)
        if delta.finish_reason is not None:
            self._open -= 1
        if self._unread > self._max_unread:
            self.fail(
                ClientTooSlow(
                    "the client is too slow: more is waiting to be read than the server keeps; read the stream as it "
                    "comes, or ask for fewer tokens or log-probabilities"
                )
            )
        self._wake.set()

    def fail(self, error: RequestError) -> None:
        """Ends the stream with an error; only the first one counts, and none after the end."""
        if self._error is None and self._open:
            self._error = error
            self._pending.clear()
            self._wake.set()
            self._on_failure()

    async def take(self) -> list[Delta]:
        """Waits for news and takes all of it, at most one delta per choice; [] is the end. Raises RequestError."""
        while not self._pending:
            if self._error is not None:
                raise self._error
            if not self._open:
                return []
            self._wake.clear()
            await self._wake.wait()
        deltas = list(self._pending.values())
        self._pending.clear()
        self._unread = 0
        return deltas

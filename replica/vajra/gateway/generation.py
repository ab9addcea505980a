"""One request in flight: its stream, one task per choice, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from vajra.gateway.choice import Choice
from vajra.gateway.dispatcher import Dispatcher
from vajra.gateway.errors import DeadlineExceeded, RequestError
from vajra.gateway.request import Delta, FinishReason
from vajra.gateway.stream import DeltaStream


class Generation:
    """Made by `Gateway.open`. Whoever takes its deltas must `close` it, whatever happens."""

    def __init__(self, request_ids: Sequence[str], arrival: float, on_end: Callable[[Generation], None]) -> None:
        self.request_ids = tuple(request_ids)
        self.arrival = arrival  # on the loop's clock
        self.choices: Sequence[Choice] = ()
        self.error: RequestError | None = None
        self.stream: DeltaStream
        self._dispatcher: Dispatcher
        self._on_end: Callable[[Generation], None] | None = on_end
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self, stream: DeltaStream, choices: Sequence[Choice], dispatcher: Dispatcher) -> None:
        """Sets the choices going; the deadline of the first one is that of all."""
        loop = asyncio.get_running_loop()
        self.stream, self.choices, self._dispatcher = stream, choices, dispatcher
        deadlines = [choice.deadline for choice in choices if choice.deadline is not None]
        if deadlines:
            self._timer = loop.call_at(min(deadlines), self._expire)
        self._tasks = [dispatcher.start(choice) for choice in choices]

    async def take(self) -> list[Delta]:
        """Waits for news and takes all of it, at most one delta per choice; [] is the end. Raises RequestError."""
        try:
            return await self.stream.take()
        except RequestError as error:
            self.error = error
            raise

    def cancel(self) -> None:
        """Frees all that still runs, here and in the replicas."""
        for task, choice in zip(self._tasks, self.choices, strict=False):
            task.cancel()
            self._dispatcher.release(choice)

    def abort(self) -> None:
        """Ends every open choice with FinishReason.ABORTED: what was generated is kept."""
        self.cancel()
        for choice in self.choices:
            if choice.usage is None:
                choice.abort()

    def close(self) -> None:
        """The reader is done or gone. Idempotent."""
        if self._on_end is None:
            return
        self.cancel()
        if self._timer is not None:
            self._timer.cancel()
        on_end, self._on_end = self._on_end, None
        on_end(self)

    @property
    def complete(self) -> bool:
        """Whether every choice has ended by itself."""
        return all(choice.usage is not None for choice in self.choices)

    @property
    def aborted(self) -> bool:
        """Whether draining cut a choice short."""
        return any(choice.finish_reason is FinishReason.ABORTED for choice in self.choices)

    def _expire(self) -> None:
        self.stream.fail(DeadlineExceeded("the deadline passed before the request was done; what it held is freed"))

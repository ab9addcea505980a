"""An event loop in a thread of its own, and iterators that cross from it to the caller's side."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")


class _End:
    """Closes a stream of items: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class BackgroundLoop:
    """Runs coroutines for callers that have no event loop, or one that is busy with other things."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs it to its end and returns its result; an interrupt of the caller cancels it."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items of `source`, which runs in the loop; closing the iterator early closes the source."""
        items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        pump = self.submit(_pump(source, items.put))
        try:
            while not isinstance(item := items.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            pump.cancel()

    async def aiterate(self, source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """As `iterate`, for a caller in another event loop."""
        caller = asyncio.get_running_loop()
        items: asyncio.Queue[T | _End] = asyncio.Queue()
        pump = self.submit(_pump(source, lambda item: caller.call_soon_threadsafe(items.put_nowait, item)))
        try:
            while not isinstance(item := await items.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            pump.cancel()

    def close(self) -> None:
        """Cancels what still runs and ends the thread. May be called once."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _pump(source: AsyncGenerator[T, None], put: Callable[[T | _End], object]) -> None:
    try:
        async with aclosing(source):
            async for item in source:
                put(item)
    except asyncio.CancelledError:
        put(_End(RuntimeError("closed while it was answering")))  # heard only if the caller still listens
        raise
    except BaseException as error:
        put(_End(error))
    else:
        put(_End(None))


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

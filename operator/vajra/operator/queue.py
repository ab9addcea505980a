"""A work queue of keys: what has changed is named, never described, so a thousand events cost one pass.

* A key is in the queue at most once, and never in the hands of two workers.
* A key that is added while it is worked on runs once more afterwards.
* Work that fails comes back after a delay that doubles; work that asks for it comes back when it asked.
* What is only looked over, because it is time for that, is looked over one after the other, beside what has news.
* Between two passes everything else has its turn: a pass that finds nothing to do waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class RetryError(Exception):
    """Work that could not be finished for a reason that is known; not before `after` seconds again."""

    after: float = 0.0


@dataclass(frozen=True)
class Backoff:
    """How long failing work waits, in seconds: doubled every time, and each time between half and all of it."""

    base: float = 0.1
    limit: float = 60.0

    def delay(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return min(self.limit, self.base * 2.0 ** min(failures - 1, 62)) * random.uniform(0.5, 1.0)


class _Turn(NamedTuple, Generic[K]):
    """A key that waits. key: None lets a worker go; since: when it was added first."""

    key: K | None
    since: float
    news: bool


class QueueObserver:
    """Is told what a queue does; this one does not care."""

    def added(self) -> None:
        """A key has entered the queue."""

    def started(self, waited: float) -> None:
        """A worker has taken a key that waited so many seconds."""

    def finished(self, result: str, seconds: float) -> None:
        """A worker is done: `success`, `requeue_after` or `error`."""


class WorkQueue(Generic[K]):
    """Keys that wait for `work`, which returns the seconds after which it wants to see the key again, or None."""

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        *,
        concurrency: int = 8,
        backoff: Backoff | None = None,
        observer: QueueObserver | None = None,
    ) -> None:
        self._work = work
        self._concurrency = concurrency
        self._backoff = backoff or Backoff()
        self._observer = observer or QueueObserver()
        self._news: asyncio.Queue[_Turn[K]] = asyncio.Queue()
        self._others: asyncio.Queue[_Turn[K]] = asyncio.Queue()
        self._waiting: dict[K, _Turn[K]] = {}  # in one of them; what is there and not here has moved to the other
        self._running: dict[K, float] = {}
        self._again: dict[K, bool] = {}  # added while running, and whether with news
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Keys that a worker has."""
        return len(self._running)

    @property
    def longest_running(self) -> float:
        """Seconds that the slowest worker has been at its key."""
        return max((self._now() - since for since in self._running.values()), default=0.0)

    @property
    def healthy(self) -> bool:
        """Whether every worker lives."""
        return not any(worker.done() for worker in self._workers)

    def add(self, key: K, *, news: bool = True) -> None:
        """Has `key` worked on as soon as a worker is free. Keys without news have but one."""
        if self._stopping:
            return
        if key in self._running:
            self._again[key] = news or self._again.get(key, False)
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            self._observer.added()
        if waiting is None or (news and not waiting.news):
            since = self._now() if waiting is None else waiting.since
            self._waiting[key] = turn = _Turn(key, since, news)
            (self._news if news else self._others).put_nowait(turn)

    def start(self) -> None:
        """Starts the workers. What was added before waits for them."""
        queues = [self._others] + [self._news] * self._concurrency
        self._workers = [
            asyncio.create_task(self._serve(queue), name=f"queue worker {index}") for index, queue in enumerate(queues)
        ]

    async def stop(self, seconds: float) -> None:
        """Takes nothing new, lets what is under way end, and cancels it after so many seconds."""
        self._stopping = True
        for key in list(self._timers):
            self._cancel_timer(key)
        for queue in (self._news, self._others):
            while not queue.empty():
                queue.get_nowait()
            for _ in self._workers:
                queue.put_nowait(_Turn(None, 0.0, False))
        self._waiting.clear()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=seconds)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, queue: asyncio.Queue[_Turn[K]]) -> None:
        while (key := (turn := await queue.get()).key) is not None:
            if self._waiting.get(key) is not turn:
                continue
            started = self._now()
            del self._waiting[key]
            self._observer.started(started - turn.since)
            self._cancel_timer(key)  # what this pass finds out decides when the next one is
            self._running[key] = started
            try:
                result = await self._run(key)
            finally:
                del self._running[key]
            self._observer.finished(result, self._now() - started)
            if key in self._again:
                self.add(key, news=self._again.pop(key))
            await asyncio.sleep(0)  # a queue that holds something gives it at once

    async def _run(self, key: K) -> str:
        try:
            after = await self._work(key)
        except Exception as error:
            known = isinstance(error, RetryError)
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            delay = max(self._backoff.delay(failures), error.after if isinstance(error, RetryError) else 0.0)
            log.warning("%s: %s; again in %.1f s", key, error if known else repr(error), delay, exc_info=not known)
            self._come_back(key, delay)
            return "error"
        self._failures.pop(key, None)
        if after is None:
            return "success"
        self._come_back(key, after)
        return "requeue_after"

    def _come_back(self, key: K, seconds: float) -> None:
        if not self._stopping:
            self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._ring, key)

    def _ring(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

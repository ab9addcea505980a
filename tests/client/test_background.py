"""Iteration across threads and loops: order, errors, early ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from vajra.client.background import BackgroundLoop


@pytest.fixture
def background() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop("test-loop")
    yield loop
    loop.close()


class Source:
    """Counts, then waits for ever, or fails; knows whether it was closed."""

    def __init__(self, count: int, then: str = "end") -> None:
        self.count, self.then = count, then
        self.closed = threading.Event()

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                yield number
            if self.then == "fail":
                raise LookupError("lost")
            if self.then == "wait":
                await asyncio.Event().wait()
        finally:
            self.closed.set()


def test_items_arrive_in_order_and_the_source_is_closed(background: BackgroundLoop) -> None:
    source = Source(500)
    assert list(background.iterate(source.items())) == list(range(500))
    assert source.closed.wait(10)


def test_errors_arrive_after_the_items(background: BackgroundLoop) -> None:
    seen = []
    with pytest.raises(LookupError, match="lost"):  # noqa: PT012
        for item in background.iterate(Source(3, "fail").items()):
            seen.append(item)
    assert seen == [0, 1, 2]


def test_leaving_early_closes_the_source(background: BackgroundLoop) -> None:
    source = Source(3, "wait")
    for item in background.iterate(source.items()):
        if item == 2:
            break
    assert source.closed.wait(10)


async def test_another_loop_may_iterate_and_leave(background: BackgroundLoop) -> None:
    assert [item async for item in background.aiterate(Source(500).items())] == list(range(500))
    source = Source(3, "wait")
    iterator = background.aiterate(source.items())
    async with aclosing(iterator):
        assert await anext(iterator) == 0
    assert await asyncio.to_thread(source.closed.wait, 10)
    with pytest.raises(LookupError):
        [item async for item in background.aiterate(Source(1, "fail").items())]


def test_closing_the_loop_ends_what_runs() -> None:
    background = BackgroundLoop("test-loop")
    source = Source(1, "wait")
    iterator = background.iterate(source.items())
    assert next(iterator) == 0
    background.close()
    assert source.closed.is_set()
    with pytest.raises(RuntimeError, match="closed"):
        next(iterator)

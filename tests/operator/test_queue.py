"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.virtual_time import run

from vajra.operator.queue import Backoff, RetryError, WorkQueue

KEYS = ("a", "b", "c")
CONCURRENCY = 2


@dataclass
class Pass:
    """What a worker does with a key: how long, and how it ends: None, "fail", or the seconds it asks for."""

    seconds: float
    outcome: float | str | None


@dataclass
class Log:
    """What happened, with times."""

    adds: list[tuple[float, str]] = field(default_factory=list)
    starts: list[tuple[float, str]] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)  # passes that ended with a wish to come back
    running: set[str] = field(default_factory=set)


seconds = st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0])
passes = st.lists(st.builds(Pass, seconds, st.sampled_from([None, "fail", 0.0, 1.0])), max_size=12)
adds = st.lists(st.tuples(seconds, st.sampled_from(KEYS)), min_size=1, max_size=20)


async def drive(passes: list[Pass], adds: list[tuple[float, str]]) -> Log:
    """Adds keys after pauses; runs until nothing is left. The last passes all succeed."""
    log, loop, todo = Log(), asyncio.get_running_loop(), list(passes)

    async def work(key: str) -> float | None:
        assert key not in log.running, "two workers have the same key"
        log.running.add(key)
        assert len(log.running) <= CONCURRENCY
        log.starts.append((loop.time(), key))
        this = todo.pop() if todo else Pass(0.1, None)
        await asyncio.sleep(this.seconds)
        log.running.remove(key)
        if this.outcome is None:
            return None
        log.again[key] += 1
        if isinstance(this.outcome, str):
            raise RetryError("as told")
        return this.outcome

    queue: WorkQueue[str] = WorkQueue(work, concurrency=CONCURRENCY)
    queue.start()
    for pause, key in adds:
        await asyncio.sleep(pause)
        log.adds.append((loop.time(), key))
        queue.add(key)
    await asyncio.sleep(10_000.0)
    assert queue.healthy
    assert queue.depth == queue.active == 0
    await queue.stop(1.0)
    return log


@given(passes, adds)
def test_every_key_added_is_worked_on_afterwards_and_no_more_often_than_asked(
    passes: list[Pass], adds: list[tuple[float, str]]
) -> None:
    log = run(drive(passes, adds))
    for added, key in log.adds:
        assert any(start >= added for start, started in log.starts if started == key), "an addition is lost"
    for key, starts in Counter(key for _, key in log.starts).items():
        assert starts <= sum(added == key for _, added in log.adds) + log.again[key]


def test_many_additions_are_one_pass() -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async def work(key: str) -> None:
            done.append(key)

        queue: WorkQueue[str] = WorkQueue(work)
        for _ in range(1000):
            queue.add("a")
        queue.start()
        await asyncio.sleep(1.0)
        await queue.stop(0.0)
        return done

    assert run(main()) == ["a"]


def test_a_key_added_while_it_is_worked_on_runs_once_more() -> None:
    async def main() -> int:
        passes = 0

        async def work(key: str) -> None:
            nonlocal passes
            passes += 1
            if passes == 1:
                for _ in range(3):
                    queue.add(key)

        queue: WorkQueue[str] = WorkQueue(work)
        queue.start()
        queue.add("a")
        await asyncio.sleep(1.0)
        await queue.stop(0.0)
        return passes

    assert run(main()) == 2


async def failures(after: float, seconds: float) -> list[float]:
    """When a key that always fails is tried."""
    times: list[float] = []

    async def work(key: str) -> None:
        times.append(asyncio.get_running_loop().time())
        error = RetryError("no")
        error.after = after
        raise error

    queue: WorkQueue[str] = WorkQueue(work, backoff=Backoff(base=1.0, limit=64.0))
    queue.start()
    queue.add("a")
    await asyncio.sleep(seconds)
    await queue.stop(0.0)
    return times


def test_failing_work_waits_twice_as_long_each_time_up_to_a_limit() -> None:
    times = run(failures(0.0, 1000.0))
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(waits) > 10
    for index, wait in enumerate(waits):
        longest = min(64.0, 2.0**index)
        assert longest / 2 <= wait <= longest
    assert len(set(waits[6:])) > 1, "no jitter"


def test_work_that_was_told_to_wait_waits_so_long() -> None:
    first, second = run(failures(30.0, 40.0))
    assert second - first == pytest.approx(30.0)


def test_success_forgets_failures() -> None:
    async def main() -> list[float]:
        times: list[float] = []
        loop = asyncio.get_running_loop()

        async def work(key: str) -> float | None:
            times.append(loop.time())
            if len(times) % 5:
                raise RetryError("no")
            return 100.0

        queue: WorkQueue[str] = WorkQueue(work, backoff=Backoff(base=1.0, limit=1000.0))
        queue.start()
        queue.add("a")
        await asyncio.sleep(130.0)
        await queue.stop(0.0)
        return times

    times = run(main())
    assert times[6] - times[5] <= 1.0, "the first wait after a success is a short one"


def test_stop_lets_a_pass_end_and_starts_no_other() -> None:
    async def main() -> tuple[list[str], list[str]]:
        begun: list[str] = []
        ended: list[str] = []

        async def work(key: str) -> None:
            begun.append(key)
            await asyncio.sleep(5.0)
            ended.append(key)

        queue: WorkQueue[str] = WorkQueue(work, concurrency=1)
        queue.start()
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(1.0)
        await queue.stop(10.0)
        queue.add("c")
        await asyncio.sleep(100.0)
        return begun, ended

    assert run(main()) == (["a"], ["a"])


def test_an_unforeseen_error_is_a_failure_like_another() -> None:
    async def main() -> int:
        passes = 0

        async def work(key: str) -> None:
            nonlocal passes
            passes += 1
            if passes < 3:
                raise KeyError("a bug")

        queue: WorkQueue[str] = WorkQueue(work)
        queue.start()
        queue.add("a")
        await asyncio.sleep(100.0)
        assert queue.healthy
        await queue.stop(0.0)
        return passes

    assert run(main()) == 3


async def order(news: Iterable[str], others: Iterable[str]) -> list[str]:
    """The order in which keys are done that are added while a worker is at `first`; each takes a second."""
    done: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(1.0)
        done.append(key)

    queue: WorkQueue[str] = WorkQueue(work, concurrency=1)
    queue.start()
    queue.add("first")
    await asyncio.sleep(0.5)
    for key in others:
        queue.add(key, news=False)
    for key in news:
        queue.add(key)
    await asyncio.sleep(100.0)
    assert queue.depth == 0
    await queue.stop(1.0)
    return done


def test_news_do_not_wait_for_what_is_only_looked_over() -> None:
    done = run(order(["d"], ["a", "b", "c"]))
    assert done.index("d") < done.index("b") < done.index("c")


def test_a_key_with_news_is_worked_on_once_though_it_was_to_be_looked_over() -> None:
    done = run(order(["c"], ["a", "b", "c"]))
    assert Counter(done) == Counter(["first", "a", "b", "c"])
    assert done.index("c") < done.index("b")


def test_passes_that_wait_for_nothing_let_others_work() -> None:
    """As those of a resync, which find nothing to do."""

    async def most_in_a_row() -> int:
        row, longest = 0, 0

        async def work(key: int) -> None:
            nonlocal row, longest
            row += 1
            longest = max(longest, row)

        queue: WorkQueue[int] = WorkQueue(work, concurrency=2)
        queue.start()
        for key in range(100):
            queue.add(key, news=bool(key % 2))
        while queue.depth:
            row = 0
            await asyncio.sleep(0)
        await queue.stop(1.0)
        return longest

    assert run(most_in_a_row()) <= 3  # workers: two, and one for what is only looked over

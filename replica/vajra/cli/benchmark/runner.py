"""Sends a workload to a target and records what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from vajra.cli.benchmark.statistics import RequestRecord
from vajra.cli.benchmark.target import Target
from vajra.cli.benchmark.workload import BenchmarkRequest


async def run(
    target: Target,
    requests: Sequence[BenchmarkRequest],
    *,
    concurrency: int | None = None,
    time_limit: float | None = None,
    on_done: Callable[[RequestRecord], None] = lambda record: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[RequestRecord], float]:
    """Sends every request at its arrival, or later when `concurrency` are in flight; `time_limit` is per request.

    Returns:
        Records in order of the requests, and the duration in seconds from the start to the last answer.
    """
    # Without a limit arrivals are an open loop: a slow server does not slow the sending.
    room = asyncio.Semaphore(concurrency) if concurrency else None
    start = clock()
    records: list[RequestRecord] = []

    async def one(record: RequestRecord, request: BenchmarkRequest) -> None:
        async with room or nullcontext():
            await _measure(target, request, record, time_limit, clock)
        on_done(record)

    async with asyncio.TaskGroup() as group:
        for index, request in enumerate(requests):
            due = None if request.arrival is None else start + request.arrival
            if due is not None and (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            record = RequestRecord(index, due, clock(), request.prompt_tokens, request.max_tokens)
            records.append(record)
            group.create_task(one(record, request))
    return records, clock() - start


async def _measure(
    target: Target,
    request: BenchmarkRequest,
    record: RequestRecord,
    time_limit: float | None,
    clock: Callable[[], float],
) -> None:
    last = record.sent = clock()
    counted = None
    try:
        async with asyncio.timeout(time_limit):
            async for progress in target.send(request):
                last = clock()
                if progress.is_token:
                    record.token_times.append(last)
                record.finish_reason = progress.finish_reason or record.finish_reason
                record.prompt_tokens = progress.prompt_tokens or record.prompt_tokens
                counted = progress.output_tokens or counted
    except TimeoutError:
        record.error = f"timed out after {time_limit:g} s"
    except Exception as error:  # one request's failure is a result, not the end of the run
        record.error = str(error) or type(error).__name__
    else:
        record.output_tokens = counted or len(record.token_times)
        if record.output_tokens == 0:
            record.error = "the answer has no tokens"
        elif record.finish_reason is None:
            record.error = "the stream ended without a finish_reason"
        elif not record.token_times:  # tokens without any text: they came with the end
            record.token_times.append(last)

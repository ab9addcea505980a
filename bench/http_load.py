"""The same client for every server: the load generator of `vajra bench`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.peers.protocol import WrongAnswer
from bench.workloads import DECODE, ITL, TOTAL, TTFT, Workload

from vajra.cli.benchmark.runner import run
from vajra.cli.benchmark.statistics import Report
from vajra.cli.benchmark.target import OpenAITarget
from vajra.cli.benchmark.workload import BenchmarkRequest
from vajra.cli.openai_client import OpenAIClient

_REQUEST_SECONDS = 900.0


def requests(prompts: Sequence[Sequence[int]], output: int) -> list[BenchmarkRequest]:
    """As many requests, to be sent as soon as concurrency allows."""
    return [BenchmarkRequest(tuple(prompt), len(prompt), output, None) for prompt in prompts]


def measure(
    url: str, body: dict[str, Any], workload: Workload, prompts: Sequence[Sequence[int]], output: int
) -> dict[str, float]:
    """A workload's figures from one run: medians over its requests, p99 over all gaps.

    Raises:
        WrongAnswer: a request failed, or its answer is shorter than asked for.
    """
    report = asyncio.run(_report(url, body, workload, prompts, output))
    if report.errors:
        raise WrongAnswer("; ".join(f"{count} requests failed: {why}" for why, count in report.errors.items()))
    if report.short_answers:
        raise WrongAnswer(f"{report.short_answers} of {report.requests} answers are shorter than asked for")
    ttft, tpot, itl = (report.latencies[name] for name in ("ttft", "tpot", "itl"))
    values = {TOTAL.name: report.rate(report.prompt_tokens + report.output_tokens)}
    if ttft is not None:
        values[TTFT.name] = ttft.percentiles[50] * 1000
    if tpot is not None:
        values[DECODE.name] = 1 / tpot.percentiles[50]
    if itl is not None:
        values[ITL.name] = itl.percentiles[99] * 1000
    return {figure.name: values[figure.name] for figure in workload.figures if figure.name in values}


async def _report(
    url: str, body: dict[str, Any], workload: Workload, prompts: Sequence[Sequence[int]], output: int
) -> Report:
    async with OpenAIClient(url) as client:
        target = OpenAITarget(client, (await client.models())[0], extra=body)
        records, duration = await run(
            target, requests(prompts, output), concurrency=workload.concurrency, time_limit=_REQUEST_SECONDS
        )
    return Report.of(records, duration)

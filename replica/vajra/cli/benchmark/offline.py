"""The engine of this process as a target: `vajra bench --offline`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vajra.cli.benchmark.target import Progress
from vajra.cli.benchmark.workload import BenchmarkRequest
from vajra.cli.output import progress_bars
from vajra.client import LLM, SamplingParams


@dataclass(frozen=True)
class OfflineTarget:
    """Asks an `LLM`, greedily."""

    llm: LLM
    ignore_eos: bool

    async def send(self, request: BenchmarkRequest) -> AsyncIterator[Progress]:
        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=request.max_tokens,
            min_tokens=request.max_tokens if self.ignore_eos else 0,
            ignore_eos=self.ignore_eos,
        )
        async for delta in self.llm.astream(request.prompt, sampling):
            usage = delta.usage
            yield Progress(
                is_token=bool(delta.token_ids),
                finish_reason=delta.finish_reason,
                prompt_tokens=usage.prompt_tokens if usage else None,
                output_tokens=usage.completion_tokens if usage else None,
            )


@asynccontextmanager
async def offline_target(model: str, *, ignore_eos: bool) -> AsyncIterator[OfflineTarget]:
    """Starts the engine and stops it again."""
    with progress_bars() as progress:
        llm = await asyncio.to_thread(lambda: LLM(model, progress=progress))
    try:
        yield OfflineTarget(llm, ignore_eos)
    finally:
        await asyncio.to_thread(llm.close)

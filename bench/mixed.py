"""Mixed load over HTTP: 8 requests decode, then a prompt of 3,000 tokens arrives.

    python -m bench.mixed                       # vajra, vllm and llamacpp, 128 to 2048 tokens in a step
    python -m bench.mixed --engines vajra --chunks 256,512 --rounds 5

For each engine and each bound on the tokens of a step (Vajra: FixedChunk's chunk_size; vLLM: max_num_batched_tokens;
llama.cpp: -b and -ub) a server is started and measured some times, after one time that is not counted. Inter-token
latencies (ITL) are those of the 8 from the prompt's sending to its first token; "alone" is their median before.
The client is that of `vajra bench`, for all.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench import options, plots
from bench.engines import Engine, Setting
from bench.peers.layout import Layout
from bench.peers.protocol import WrongAnswer
from bench.processes import EngineFailed, Server, free_port
from bench.stats import Spread
from bench.workloads import MODELS, SMOLLM2

from vajra.cli.benchmark.target import OpenAITarget
from vajra.cli.benchmark.workload import BenchmarkRequest
from vajra.cli.openai_client import OpenAIClient

_DECODES, _DECODE_PROMPT, _DECODE_OUTPUT = 8, 128, 3000
_PROMPT, _PROMPT_OUTPUT = 3000, 4
_STEADY = 32  # tokens that each decode has got when the prompt is sent
_CHUNKS = (128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Trial:
    """Seconds: time to the prompt's first token, the decodes' gaps meanwhile, and their gaps before."""

    ttft: float
    gaps: list[float]
    before: list[float]


@dataclass(frozen=True)
class Summary:
    """Milliseconds. Percentiles are over the gaps of all trials; TTFT has its spread over trials."""

    alone_p50: float
    itl_p50: float
    itl_p99: float
    itl_max: float
    ttft: Spread


def overlapping(arrivals: Sequence[float], begin: float, end: float) -> list[float]:
    """Gaps between successive arrivals that share some time with (begin, end)."""
    return [b - a for a, b in itertools.pairwise(arrivals) if a < end and b > begin]


def summary(trials: Sequence[Trial]) -> Summary:
    """Of at least one trial."""
    gaps = np.array([gap for trial in trials for gap in trial.gaps]) * 1000
    p50, p99 = np.percentile(gaps, (50, 99))
    before = np.array([gap for trial in trials for gap in trial.before]) * 1000
    spread = Spread.of([trial.ttft * 1000 for trial in trials])
    return Summary(float(np.median(before)), float(p50), float(p99), float(gaps.max()), spread)


class _Decode:
    """One of the running answers."""

    def __init__(self, target: OpenAITarget, prompt: Sequence[int]) -> None:
        self.arrivals: list[float] = []
        self.steady = asyncio.Event()
        self._target, self._prompt = target, prompt

    async def run(self) -> None:
        request = BenchmarkRequest(tuple(self._prompt), len(self._prompt), _DECODE_OUTPUT, None)
        async for progress in self._target.send(request):
            if progress.is_token:
                self.arrivals.append(time.perf_counter())
            if len(self.arrivals) >= _STEADY:
                self.steady.set()
        raise WrongAnswer(f"a decode ended after {len(self.arrivals)} tokens, before the prompt was through")


async def _trial(server: Server, number: int) -> Trial:
    source = random.Random(f"mixed {number}")

    def prompt(length: int) -> list[int]:
        return [source.randrange(300, MODELS[SMOLLM2].vocabulary - 10) for _ in range(length)]

    async with OpenAIClient(server.url) as client:
        target = OpenAITarget(client, (await client.models())[0], extra=server.body)
        decodes = [_Decode(target, prompt(_DECODE_PROMPT)) for _ in range(_DECODES)]
        running = [asyncio.create_task(decode.run()) for decode in decodes]
        main = asyncio.create_task(_arrival(target, decodes, prompt(_PROMPT)))
        try:
            done, _ = await asyncio.wait({main, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {main}:
                task.result()  # raises why a decode ended
            sent, first = main.result()
        finally:
            for task in (main, *running):
                task.cancel()
            await asyncio.gather(main, *running, return_exceptions=True)
    gaps = [gap for decode in decodes for gap in overlapping(decode.arrivals, sent, first)]
    before = [
        gap for d in decodes for gap in overlapping([t for t in d.arrivals if t <= sent][_STEADY // 2 :], 0, sent)
    ]
    return Trial(first - sent, gaps, before)


async def _arrival(target: OpenAITarget, decodes: Sequence[_Decode], prompt: list[int]) -> tuple[float, float]:
    """Sends the prompt once all decode steadily: when it was sent, and when its first token came."""
    for decode in decodes:
        await decode.steady.wait()
    sent = time.perf_counter()
    first = None
    async for progress in target.send(BenchmarkRequest(tuple(prompt), len(prompt), _PROMPT_OUTPUT, None)):
        if progress.is_token and first is None:
            first = time.perf_counter()
    if first is None:
        raise WrongAnswer("the prompt's answer has no tokens")
    return sent, first


def measure(engine: Engine, setting: Setting, rounds: int, log: Path) -> Summary:
    """One server. Raises EngineFailed or WrongAnswer."""
    server = Server(engine, setting, log)
    try:
        trials = [asyncio.run(_trial(server, number)) for number in range(-1, rounds)]
    finally:
        server.close()
    return summary(trials[1:])


def markdown(found: Mapping[tuple[str, int], Summary]) -> str:
    """A row for each engine and chunk size."""
    lines = [
        "| engine | tokens in a step | alone p50 | ITL p50 | ITL p99 | ITL max | TTFT of the prompt |",
        "|--|--|--|--|--|--|--|",
    ]
    for (engine, chunk), s in found.items():
        ttft = f"{s.ttft.median:.0f} ({s.ttft.minimum:.0f}–{s.ttft.maximum:.0f})"
        cells = (f"{v:.1f}" for v in (s.alone_p50, s.itl_p50, s.itl_p99, s.itl_max))
        lines.append(f"| {engine} | {chunk} | " + " | ".join(cells) + f" | {ttft} |")
    return "\n".join([*lines, "", "Milliseconds."])


def main() -> int:
    """Measures and reports. The exit status is 1 when an engine failed."""
    parser = options.parser("mixed", __doc__)
    parser.add_argument(
        "--engines", type=options.names, default=["vajra", "vllm", "llamacpp"], help="[vajra,vllm,llamacpp]"
    )
    parser.add_argument(
        "--chunks", type=options.names, default=[str(c) for c in _CHUNKS], help="[128,256,512,1024,2048]"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times for each server [%(default)s]")
    parser.add_argument("--results", type=Path, default=Path("build/bench/mixed.json"), help="[%(default)s]")
    given = parser.parse_args()
    if not all(c.isdecimal() and int(c) >= 64 for c in given.chunks):
        parser.error("--chunks are whole numbers from 64 with commas between")
    layout = Layout(given.peers.absolute())
    engines = options.engines(given.engines, layout, parser)
    if without := [engine.name for engine in engines if engine.server is None]:
        parser.error(f"{', '.join(without)}: no server")
    found: dict[tuple[str, int], Summary] = {}
    failures = []
    for chunk in map(int, given.chunks):
        for engine in engines:
            print(f"{engine.name}, {chunk} tokens in a step", file=sys.stderr)
            setting = Setting(layout, SMOLLM2, given.threads, free_port(), chunk)
            try:
                log = given.results.parent / "logs" / f"mixed-{engine.name}-{chunk}.log"
                found[engine.name, chunk] = measure(engine, setting, given.rounds, log)
            except (EngineFailed, WrongAnswer) as error:
                failures.append(f"{engine.name}, {chunk}: {error}")
    found = {key: found[key] for key in sorted(found, key=lambda key: (given.engines.index(key[0]), key[1]))}
    values: list[dict[str, Any]] = [{"engine": e, "chunk": c, **asdict(s)} for (e, c), s in found.items()]
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(values, indent=2) + "\n")
    print(json.dumps(values, indent=2) if given.output == "json" else markdown(found))
    series: dict[str, dict[int, tuple[float, float]]] = {}
    for (name, chunk), s in found.items():
        series.setdefault(name, {})[chunk] = (s.itl_p99, s.ttft.median)
    try:
        plots.chunks(series, given.results.with_suffix(".png"))
    except ImportError:
        print("no plot: it needs matplotlib (pip install 'vajra[plots]')", file=sys.stderr)
    print(*failures, sep="\n", end="\n" if failures else "", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a timed scheduler does for those who wait for tokens while a long prompt comes in, on this machine's engine.

    python -m bench.chunking                               # fixed chunks of 128 and 256 against a target of 500 ms
    python -m bench.chunking --prompt 8000 --target 0.5 --plot docs/images/chunking.png -o json

Four requests decode; then a prompt of 8k tokens comes. Under fixed chunks each step takes longer as its context
grows; under dynamic ones chunks shrink instead. Of the steps that the target cut short, it prints how many took less
than 1.2 x the target, and their median over the target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.live_engine import Answer, LiveEngine, Request, Step

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    VajraDeployment,
)

_DECODES, _SHORT = 4, 64


@dataclass(frozen=True)
class Result:
    """Of one scheduler. Times in seconds; `first` and `last` are quarters of the long prompt's prefill."""

    scheduler: str
    steps: int
    ttft: float  # of the long prompt
    gap_first: float  # median inter-token latency
    gap_last: float
    gap_p99: float
    chunk_first: int  # median tokens of a chunk
    chunk_last: int
    cut: int | None = None  # steps that the target cut short
    within: float | None = None  # part of them below 1.2 x the target
    over_target: float | None = None  # their median, over the target
    noise: float | None = None  # 95th percentile of |measured / predicted - 1| over these


def measure(engine: LiveEngine, config: Any, name: str, prompt: int) -> tuple[Result, list[Answer], list[Step]]:
    """One run."""
    requests = [Request("decode", _SHORT, 4000) for _ in range(_DECODES)]
    requests.append(Request("long", prompt, 4, arrival=0.5))
    answers, steps = _until_long_ends(engine, requests, config)
    inside = [step for step in steps if any(context or query > _SHORT for query, context in step.chunks)]
    quarter = max(1, len(inside) // 4)
    long = answers[-1]
    ends = [step.end for step in inside]
    gaps = [(t, gap) for a in answers[:-1] for t, gap in zip(a.tokens[1:], a.gaps, strict=True)]
    during = [gap for t, gap in gaps if ends[0] < t <= ends[-1]]
    first = [gap for t, gap in gaps if ends[0] < t <= ends[quarter]]
    last = [gap for t, gap in gaps if ends[-quarter] < t <= ends[-1]]
    target = config.target_batch_time_param if isinstance(config, DynamicChunkReplicaSchedulerConfig) else None
    cut = [step for step in inside if step.cut]
    return (
        Result(
            scheduler=name,
            steps=len(inside),
            ttft=long.ttft,
            gap_first=statistics.median(first),
            gap_last=statistics.median(last),
            gap_p99=statistics.quantiles(during, n=100)[-1],
            chunk_first=_chunk(inside[:quarter]),
            chunk_last=_chunk(inside[-quarter:]),
            cut=len(cut) if target else None,
            within=sum(step.seconds < 1.2 * target for step in cut) / len(cut) if target else None,
            over_target=statistics.median(step.seconds for step in cut) / target if target else None,
            noise=statistics.quantiles([abs(s.seconds / s.predicted - 1) for s in cut], n=20)[-1] if target else None,
        ),
        answers,
        inside,
    )


def _until_long_ends(engine: LiveEngine, requests: Sequence[Request], config: Any) -> tuple[list[Answer], list[Step]]:
    """The decodes go on until the long prompt has its first tokens: they are given as many tokens as that takes."""
    return engine.run(
        requests, scheduler_config=config, prioritizer_config=FcfsRequestPrioritizerConfig(), until=len(requests) - 1
    )


def _chunk(steps: Sequence[Step]) -> int:
    return round(statistics.median(sum(query for query, _ in step.chunks) for step in steps))


def plot(runs: Sequence[tuple[Result, list[Answer], list[Step]]], path: Path) -> None:
    """Inter-token latencies of the decodes, and chunks, over the prompt's progress."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 4), layout="constrained")
    left, right = canvas.subplots(1, 2)
    for result, answers, steps in runs:
        gaps = sorted((t, gap) for a in answers[:-1] for t, gap in zip(a.tokens[1:], a.gaps, strict=True))
        contexts, values = [], []
        for step in steps:
            near = [gap for t, gap in gaps if abs(t - step.end) < 1e-3]
            if near:
                contexts.append(step.chunks[-1][1])
                values.append(1e3 * max(near))
        left.plot(contexts, values, ".-", markersize=3, linewidth=0.6, label=result.scheduler)
        right.plot(
            [s.chunks[-1][1] for s in steps], [s.chunks[-1][0] for s in steps], ".-", markersize=3, linewidth=0.6
        )
    left.set(xlabel="context of the long prompt (tokens)", ylabel="inter-token latency of the decodes (ms)", ylim=0)
    right.set(xlabel="context of the long prompt (tokens)", ylabel="chunk (tokens)", ylim=0)
    left.legend(fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)


def main() -> int:
    """See the module's text."""
    options = argparse.ArgumentParser(
        prog="python -m bench.chunking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default="smollm2-135m-instruct", help="the model [%(default)s]")
    options.add_argument("--prompt", type=int, default=8000, help="tokens of the long prompt [%(default)s]")
    options.add_argument("--target", type=float, default=0.5, help="seconds of a batch [%(default)s]")
    options.add_argument("--chunks", default="128,256", help="fixed chunks to compare with [%(default)s]")
    options.add_argument("--plot", type=Path, help="write a PNG")
    options.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    args = options.parse_args()
    dynamic = DynamicChunkReplicaSchedulerConfig(target_batch_time_param=args.target, max_chunk_size_param=2048)
    deployment = VajraDeployment.for_model(args.model, max_model_len=args.prompt + 64, scheduler_config=dynamic)
    print("loading, and measuring a profile unless one is kept", file=sys.stderr)
    engine = LiveEngine(deployment)
    schedulers: list[tuple[str, Any]] = [
        (f"fixed {chunk}", FixedChunkReplicaSchedulerConfig(chunk_size=int(chunk))) for chunk in args.chunks.split(",")
    ]
    schedulers.append((f"dynamic {1e3 * args.target:.0f} ms", dynamic))
    runs = []
    for name, config in schedulers:
        print(name, file=sys.stderr)
        runs.append(measure(engine, config, name, args.prompt))
    if args.plot:
        plot(runs, args.plot)
    if args.output == "json":
        print(json.dumps([asdict(result) for result, _, _ in runs], indent=1))
        return 0
    for result, _, _ in runs:
        print(
            f"{result.scheduler:16} TTFT {result.ttft:6.2f} s  ITL p50 first quarter {1e3 * result.gap_first:5.0f} ms, "
            f"last {1e3 * result.gap_last:5.0f} ms, p99 {1e3 * result.gap_p99:5.0f} ms  chunks {result.chunk_first} -> "
            f"{result.chunk_last}"
        )
        if result.cut is not None:
            print(
                f"{'':16} {result.cut} steps cut short: {result.within:.1%} below 1.2 x the target, median "
                f"{result.over_target:.2f} x; 95 % within {result.noise:.1%} of their prediction"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

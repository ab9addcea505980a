"""What space sharing gains on this machine: whether a long prefill and short ones share a batch better than they follow
each other, and what that does to those who wait.

    python -m bench.space_sharing                                  # threshold scaled down to 1,024 tokens of context
    python -m bench.space_sharing --rounds 3 --long 4000 -o json

First single batches: a short chunk behind a long context, a long chunk of a new prompt, and both in one batch. On a
device whose attention and matrix products wait for different things, both together take less than one after the other.
Then a workload: one long prompt, and short ones all the while, under LRS with DynamicChunk and with SpaceSharing, in
turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.live_engine import Answer, LiveEngine, Request, Step

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    SpaceSharingReplicaSchedulerConfig,
    VajraDeployment,
)


@dataclass(frozen=True)
class Pair:
    """Median seconds of batches: a short chunk of a long prompt, a chunk of a short prompt, and both together."""

    long_alone: float
    short_alone: float
    together: float

    @property
    def gain(self) -> float:
        """How much faster both are together than one after the other."""
        return (self.long_alone + self.short_alone) / self.together


@dataclass(frozen=True)
class Round:
    """One run of the workload. Seconds; `shared` counts batches with the long prompt and a short one."""

    scheduler: str
    short_p50: float
    short_p90: float
    long: float
    makespan: float
    steps: int
    shared: int


def pair(engine: LiveEngine, context: int, chunk: int, repeats: int) -> Pair:
    """By fixed chunks, so that batches are the same each time: the long prompt's last chunk is 32 tokens."""
    fcfs = FcfsRequestPrioritizerConfig()

    def last_step(requests: Sequence[Request], fits: Any) -> float:
        config = FixedChunkReplicaSchedulerConfig(chunk_size=chunk + 32)
        _, steps = engine.run(requests, scheduler_config=config, prioritizer_config=fcfs)
        (seconds,) = [step.seconds for step in steps if fits(step)]
        return seconds

    whole = context // (chunk + 32) * (chunk + 32)
    long, short = Request("long", whole + 32, 1), Request("short", chunk, 1)
    samples: list[tuple[float, float, float]] = []
    for _ in range(repeats):
        alone = last_step([long], lambda step: step.chunks == ((32, whole),))
        other = last_step([short], lambda step: step.chunks == ((chunk, 0),))
        both = last_step([long, short], lambda step: set(step.chunks) == {(32, whole), (chunk, 0)})
        samples.append((alone, other, both))
    return Pair(*(statistics.median(column) for column in zip(*samples, strict=True)))


def workload(long: int, shorts: int, short: int, every: float) -> list[Request]:
    """One long prompt, then short ones at equal distances."""
    return [Request("long", long, 1), *(Request("short", short, 1, arrival=every * (i + 1)) for i in range(shorts))]


def result(name: str, answers: Sequence[Answer], steps: Sequence[Step], short: int) -> Round:
    """The figures of a run."""
    waits = [answer.ttft for answer in answers if answer.request.kind == "short"]
    (long,) = [answer.ttft for answer in answers if answer.request.kind == "long"]
    shared = [step for step in steps if len(step.chunks) > 1 and max(context for _, context in step.chunks) > short]
    p90 = statistics.quantiles(waits, n=10)[-1]
    return Round(name, statistics.median(waits), p90, long, steps[-1].end, len(steps), len(shared))


def main() -> int:
    """See the module's text."""
    options = argparse.ArgumentParser(
        prog="python -m bench.space_sharing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default="smollm2-135m-instruct", help="the model [%(default)s]")
    options.add_argument("--long", type=int, default=4000, help="tokens of the long prompt [%(default)s]")
    options.add_argument("--short", type=int, default=192, help="tokens of a short one [%(default)s]")
    options.add_argument("--shorts", type=int, default=12, help="how many [%(default)s]")
    options.add_argument("--every", type=float, default=1.0, help="seconds between them [%(default)s]")
    options.add_argument("--threshold", type=int, default=1024, help="context of a long prompt [%(default)s]")
    options.add_argument("--target", type=float, default=0.5, help="seconds of a batch [%(default)s]")
    options.add_argument("--rounds", type=int, default=3, help="of each scheduler [%(default)s]")
    options.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    args = options.parse_args()
    dynamic = DynamicChunkReplicaSchedulerConfig(target_batch_time_param=args.target, max_chunk_size_param=2048)
    sharing = SpaceSharingReplicaSchedulerConfig(
        target_batch_time_param=args.target,
        max_chunk_size_param=2048,
        long_seq_kv_cache_len_threshold=args.threshold,
    )
    deployment = VajraDeployment.for_model(args.model, max_model_len=args.long + 64, scheduler_config=dynamic)
    print("loading, and measuring a profile unless one is kept", file=sys.stderr)
    engine = LiveEngine(deployment)
    both = pair(engine, args.long - 300, args.short, 3)
    requests = workload(args.long, args.shorts, args.short, args.every)
    rounds = []
    for number in range(args.rounds):
        for name, config in (("DynamicChunk", dynamic), ("SpaceSharing", sharing)):
            print(f"round {number + 1}: {name}", file=sys.stderr)
            lrs = LrsRequestPrioritizerConfig()
            answers, steps = engine.run(requests, scheduler_config=config, prioritizer_config=lrs)
            rounds.append(result(name, answers, steps, args.short))
    if args.output == "json":
        print(json.dumps({"pair": asdict(both) | {"gain": both.gain}, "rounds": [asdict(r) for r in rounds]}, indent=1))
        return 0
    print(
        f"a chunk of 32 behind {args.long - 300} tokens {1e3 * both.long_alone:.0f} ms, one of {args.short} of a new "
        f"prompt {1e3 * both.short_alone:.0f} ms, both in one batch {1e3 * both.together:.0f} ms: {both.gain:.2f} x"
    )
    for r in rounds:
        print(
            f"{r.scheduler:13} short TTFT p50 {r.short_p50:5.2f} s, p90 {r.short_p90:5.2f} s   long {r.long:6.2f} s   "
            f"all {r.makespan:6.2f} s   {r.steps} steps, {r.shared} shared"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast and how large a simulation is.

    python -m bench.simulator                     # steps per minute of three systems, a minute
    python -m bench.simulator --scale             # 1,000 replicas and 1,000,000 requests: memory and time, ten minutes
    python -m bench.simulator --profile           # where the time goes

One core. A step is one batch of one replica, with all that the real scheduler does for it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

from vajra.config import RequestPrioritizerConfig, SchedulerConfig, VajraDeployment
from vajra.prediction.devices import H100
from vajra.prediction.shapes import MODEL_SHAPES
from vajra.simulator import Arrivals, Lengths, SyntheticWorkload
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import ClusterPlan, roofline_plan

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def cluster(replicas: int, scheduler: str, prioritizer: str) -> ClusterPlan:
    """Llama-3.1-8B on single H100s by their roofline."""
    deployment = VajraDeployment.for_model(
        MODEL,
        accelerator="GPU",
        max_model_len=8192,
        num_replicas=replicas,
        scheduler_config=SchedulerConfig.class_of(scheduler)(),
        prioritizer_config=RequestPrioritizerConfig.class_of(prioritizer)(),
    )
    return roofline_plan(deployment, MODEL_SHAPES[MODEL], H100)


def chats(count: int, rate: float, output: str = "lognormal:415:0.545:1:2000") -> SyntheticWorkload:
    """Prompts and answers as in ShareGPT."""
    return SyntheticWorkload(
        num_requests=count,
        arrivals=Arrivals.parse(f"poisson:{rate}"),
        prompt_lengths=Lengths.parse("lognormal:1730:0.93:1:6000"),
        output_lengths=Lengths.parse(output),
    )


Case = tuple[int, str, str, SyntheticWorkload]  # replicas, scheduler, prioritizer
CASES: dict[str, Case] = {
    "one replica, moderate load": (1, "FixedChunk", "FCFS", chats(2000, 5)),
    "one replica, overloaded": (1, "FixedChunk", "FCFS", chats(2000, 12)),
    "one replica, overloaded, DynamicChunk and LRS": (1, "DynamicChunk", "LRS", chats(2000, 12)),
    "100 replicas": (100, "FixedChunk", "FCFS", chats(10_000, 500)),
}
SCALE: dict[str, Case] = {
    "1,000 replicas, 1,000,000 requests": (1000, "FixedChunk", "FCFS", chats(1_000_000, 12_000, "lognormal:8:0.5:1:32"))
}


def measure(plan: ClusterPlan, workload: SyntheticWorkload) -> dict[str, Any]:
    """One simulation's cost."""
    metrics = Metrics()
    started = time.process_time()
    simulation = plan.simulate(workload, metrics)
    seconds = time.process_time() - started
    return {
        "steps": simulation.steps,
        "seconds": seconds,
        "steps_per_minute": 60 * simulation.steps / seconds,
        "sequences_per_step": metrics.batches["batch_size"].mean,
        "simulated_seconds": metrics.duration,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", action="store_true", help="the large case instead of the quick ones")
    parser.add_argument("--profile", action="store_true", help="say on stderr what takes the time (and is slower)")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, Any]] = {}
    for name, (replicas, scheduler, prioritizer, workload) in (SCALE if options.scale else CASES).items():
        plan = cluster(replicas, scheduler, prioritizer)
        if options.profile:
            profiler = cProfile.Profile()
            found[name] = profiler.runcall(measure, plan, workload)
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(15)
        else:
            found[name] = measure(plan, workload)
    if options.output == "json":
        print(json.dumps(found, indent=2))
        return
    print("| system | steps | steps/minute | sequences/step | simulated s | CPU s | MiB |\n|--|--|--|--|--|--|--|")
    for name, row in found.items():
        print(
            f"| {name} | {row['steps']:,} | {row['steps_per_minute']:,.0f} | {row['sequences_per_step']:.0f} | "
            f"{row['simulated_seconds']:.0f} | {row['seconds']:.1f} | {row['memory_mib']:.0f} |"
        )


if __name__ == "__main__":
    main()

"""Medha's mix, simulated: short chats and a few very long prompts, under four ways to order and share the device.

    python -m bench.medha                         # a plot and a table, two minutes
    python -m bench.medha --rates 0.5,0.75 --requests 2000 -o json

Llama-3-8B on eight H100 (tensor 8), whose speed is an analytic roofline: nothing here was measured. Requests are those
of Medha's evaluation in kind (arXiv 2409.17264, section 6.2): lengths as in ShareGPT, and 5% with 128K to 1M tokens.
All run dynamic chunks with a target of 50 ms; the last shares each batch between a long prompt and short ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vajra.config import VajraDeployment
from vajra.prediction.devices import H100
from vajra.prediction.shapes import MODEL_SHAPES
from vajra.simulator import Arrivals, Lengths, SyntheticWorkload
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import roofline_plan
from vajra.simulator.report import report

MODEL = "gradientai/Llama-3-8B-Instruct-Gradient-1048k"
LONG = 128 * 1024
POLICIES = {
    "FCFS": ("DynamicChunk", "FCFS"),
    "EDF": ("DynamicChunk", "EDF"),
    "LRS": ("DynamicChunk", "LRS"),
    "LRS + space sharing": ("SpaceSharing", "LRS"),
}


def workload(rate: float, num_requests: int, seed: int) -> SyntheticWorkload:
    """Short prompts as in openchat_sharegpt4 (median 1730 tokens, answers 415), cut at 8K."""
    return SyntheticWorkload(
        num_requests=num_requests,
        arrivals=Arrivals.parse(f"poisson:{rate}"),
        prompt_lengths=Lengths.parse("lognormal:1730:0.93:4:8192"),
        output_lengths=Lengths.parse("lognormal:415:0.545:1:2048"),
        long_share=0.05,
        long_prompt_lengths=Lengths.parse(f"uniform:{LONG}:1000000"),
        seed=seed,
    )


def simulate(policy: str, rate: float, num_requests: int, seed: int) -> dict[str, Any]:
    """One run's report."""
    scheduler, prioritizer = POLICIES[policy]
    deployment = VajraDeployment.from_dict(
        {
            "apiVersion": "vajra.ai/v1alpha1",
            "kind": "VajraDeployment",
            "metadata": {"name": "medha"},
            "spec": {
                "model": {"name": MODEL, "maxModelLen": 1 << 20},
                "parallelism": {"tensor": 8},
                "cache": {"blockSize": 128},
                "scheduler": {"type": scheduler},
                "prioritizer": {"type": prioritizer},
            },
        }
    )
    metrics = Metrics(long_prompt_tokens=LONG)
    simulation = roofline_plan(deployment, MODEL_SHAPES[MODEL], H100).simulate(
        workload(rate, num_requests, seed), metrics
    )
    return report(simulation, metrics)


def plot(results: Mapping[str, Mapping[float, dict[str, Any]]], path: Path) -> None:
    """Times to the first token over the rate: short requests' P50 and P90, long ones' P50, and normalized P50."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    panels = [
        ("short requests, TTFT p50 (s)", "short", "ttft", "median"),
        ("short requests, TTFT p90 (s)", "short", "ttft", "p90"),
        ("long requests, TTFT p50 (s)", "long", "ttft", "median"),
        ("all, TTFT per prompt token, p50 (ms)", "all", "normalized-ttft", "median"),
    ]
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(
        "Simulated, not measured: Llama-3-8B on 8 x H100 (analytic roofline), ShareGPT-like lengths + 5% of 128K-1M",
        fontsize="medium",
    )
    for axes, (title, group, latency, statistic) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for policy, runs in results.items():
            scale = 1e3 if "(ms)" in title else 1.0
            values = [scale * run["latency"][group][latency][statistic] for run in runs.values()]
            axes.plot(list(runs), values, marker="o", label=policy)
        axes.set(title=title, xlabel="requests/s", yscale="log")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(results: Mapping[str, Mapping[float, dict[str, Any]]]) -> str:
    """Rows of a Markdown table: TTFT of short and long requests in seconds, by rate and policy."""
    lines = [
        "| requests/s | policy | short p50 | short p90 | short p99 | long p50 | long p90 | TBT p99 (ms) | busy |",
        "|--|--|--|--|--|--|--|--|--|",
    ]
    for rate in next(iter(results.values())):
        for policy, runs in results.items():
            found = runs[rate]
            short, long = found["latency"]["short"]["ttft"], found["latency"]["long"]["ttft"]
            values = (short["median"], short["p90"], short["p99"], long["median"], long["p90"])
            cells = [f"{value:.3g}" for value in values]
            lines.append(
                f"| {rate:g} | {policy} | {' | '.join(cells)} | {1e3 * found['tbt']['p99']:.0f} | "
                f"{found['utilization']['busy']:.0%} |"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.medha", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default="0.25,0.5,0.75,1,1.25", help="requests per second [%(default)s]")
    parser.add_argument("--requests", type=int, default=1000, help="of each run [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the workload [%(default)s]")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/simulated-medha.png"), help="[%(default)s]")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    options = parser.parse_args(arguments)
    rates = [float(rate) for rate in options.rates.split(",")]
    results: dict[str, dict[float, dict[str, Any]]] = {
        policy: {rate: simulate(policy, rate, options.requests, options.seed) for rate in rates} for policy in POLICIES
    }
    plot(results, options.plot)
    print(json.dumps(results, indent=2) if options.output == "json" else table(results))


if __name__ == "__main__":
    main()

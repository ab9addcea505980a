"""Whether a simulation tells what the real engine does: the same requests through both, side by side.

    vajra profile && python -m bench.simulator_truth --profile ~/.cache/vajra/profiles/*/profile.json
    python -m bench.simulator_truth --profile profile.json --rounds 5 -o json

A server of this machine (gateway, replica and engine, as `vajra serve` starts them) gets three workloads in turn, round
after round, from the load generator of `vajra bench`. The simulator gets the same arrivals and lengths, the profile's
times, and three numbers that two single requests in each round show: the factor by which the machine is slower than
when it was profiled (which a running engine follows by itself), and what a request and what a step take beyond their
predictions. A figure agrees when the simulated one is within 10% of the median of the rounds, or within twice their
spread if that is more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bench.serving import Stream, latencies, makespan, serve

from vajra.cli.benchmark.statistics import RequestRecord
from vajra.config import VajraDeployment
from vajra.prediction import FittedPredictor, Profile
from vajra.prediction.shapes import ModelShape
from vajra.simulator import Arrivals, Lengths, Request, SyntheticWorkload
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import Overheads, predicted_plan
from vajra.simulator.simulation import Simulation
from vajra.worker.resources import memory_limit_bytes

_FIGURES = ("ttft p50", "ttft p90", "tbt p50", "tbt p90", "makespan")


def recipe(count: int, arrivals: str, prompt: str, output: str, seed: int) -> SyntheticWorkload:
    """A workload of the generator."""
    return SyntheticWorkload(
        num_requests=count,
        arrivals=Arrivals.parse(arrivals),
        prompt_lengths=Lengths.parse(prompt),
        output_lengths=Lengths.parse(output),
        seed=seed,
    )


def workloads(capacity: float) -> dict[str, SyntheticWorkload]:
    """What is compared. `capacity`: requests/s of STEADY that this machine serves at most, as far as is predicted: a
    rate that is a light load on one machine drowns another, and next to saturation every error grows without bound."""
    return {
        "steady": recipe(40, f"poisson:{STEADY_LOAD * capacity:.3g}", *STEADY, 1),
        "bursts": recipe(24, "bursty:2:1:3", "uniform:32:256", "uniform:8:48", 2),
        "at once": recipe(16, "at-once", "uniform:32:256", "fixed:48", 3),
    }


STEADY = "lognormal:96:0.5:16:400", "lognormal:32:0.4:8:96"  # tokens of prompts and of answers
STEADY_LOAD = 0.6  # of the capacity
SHORT, LONG = Request(0.0, 64, 24), Request(0.0, 1024, 24)  # these are sent alone, in turn
ALONE = [SHORT, LONG]
_OBSERVATIONS = 500  # of the same step: the correction is slow


@dataclass(frozen=True)
class Figures:
    """Of one run, in seconds."""

    ttft_p50: float
    ttft_p90: float
    tbt_p50: float
    tbt_p90: float
    makespan: float

    @classmethod
    def of(cls, ttfts: Sequence[float], gaps: Sequence[float], makespan: float) -> Figures:
        """Quantiles of all requests and all gaps."""
        (ttft_p50, ttft_p90), (tbt_p50, tbt_p90) = (np.percentile(v, (50, 90)).tolist() for v in (ttfts, gaps))
        return cls(ttft_p50, ttft_p90, tbt_p50, tbt_p90, makespan)


def measured(records: Sequence[RequestRecord]) -> Figures:
    """What clients saw, from when each request should have been sent."""
    gaps = [gap for record in records for gap in record.itl]
    return Figures.of(latencies(records), gaps, makespan(records))


class _Gaps(Metrics):
    """Every gap by itself: these runs are small."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []

    def gap(self, seconds: float, count: int) -> None:
        super().gap(seconds, count)
        self.gaps += [seconds] * count


def simulated(
    predictor: FittedPredictor, model: str, max_model_len: int, requests: object, overheads: Overheads
) -> Figures:
    """The same requests through the simulator."""
    shape = ModelShape.of_profile(predictor.profile.identity)
    deployment = VajraDeployment.for_model(model, max_model_len=max_model_len)
    plan = predicted_plan(deployment, predictor, shape, memory_limit_bytes(), overheads)
    metrics = _Gaps()
    ttfts: list[float] = []
    metrics.on_prefilled.append(lambda now, running: ttfts.append(now - running.request.arrival))
    simulation: Simulation = plan.simulation(metrics)
    simulation.run(requests)  # type: ignore[arg-type]
    return Figures.of(ttfts, metrics.gaps, metrics.duration)


def calibrate(predictor: FittedPredictor, model: str, max_model_len: int, alone: Sequence[RequestRecord]) -> Overheads:
    """Sets the predictor's correction, and tells what a step and a request take beyond it, by requests that were
    alone: short and long prompts differ by the machine's speed, and have the way to the replica and back in common."""
    short, long = (
        statistics.median(record.ttft for record in alone if record.prompt_tokens == request.prompt_tokens)
        for request in (SHORT, LONG)
    )
    expected = [simulated(predictor, model, max_model_len, [request], Overheads()) for request in (SHORT, LONG)]
    factor = (long - short) / (expected[1].ttft_p50 - expected[0].ttft_p50)
    for _ in range(_OBSERVATIONS):
        batch = predictor.batch()
        batch.add_chunk(LONG.prompt_tokens, 0, True)
        batch.observe(expected[1].ttft_p50 * factor)
    corrected = simulated(predictor, model, max_model_len, [SHORT], Overheads())
    gaps = [gap for record in alone if record.prompt_tokens == SHORT.prompt_tokens for gap in record.itl]
    step = max(0.0, statistics.median(gaps) - corrected.tbt_p50)
    return Overheads(step_seconds=step, gateway_seconds=max(0.0, short - corrected.ttft_p50 - step))


def compare(real: Sequence[Figures], sim: Figures) -> list[dict[str, float | str | bool]]:
    """A row for each figure: median and spread of the rounds, what was simulated, and whether they agree."""
    rows: list[dict[str, float | str | bool]] = []
    for name, key in zip(_FIGURES, asdict(sim), strict=True):
        values = [getattr(figures, key) for figures in real]
        middle = statistics.median(values)
        spread = (max(values) - min(values)) / middle
        error = getattr(sim, key) / middle - 1
        rows.append(
            {
                "figure": name,
                "measured": middle,
                "spread": spread,
                "simulated": getattr(sim, key),
                "error": error,
                "agrees": abs(error) <= max(0.10, 2 * spread),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulator_truth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", type=Path, required=True, help="profile.json of `vajra profile` for this machine")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="what the profile is of [%(default)s]")
    parser.add_argument("--max-model-len", type=int, default=2048, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    options = parser.parse_args(arguments)
    predictor = FittedPredictor(Profile.read(options.profile))
    together = recipe(40, "at-once", *STEADY, 1)
    seconds = simulated(predictor, options.model, options.max_model_len, together, Overheads()).makespan
    compared = workloads(together.num_requests / seconds)
    real: dict[str, list[Figures]] = {name: [] for name in compared}
    with serve(VajraDeployment.for_model(options.model, max_model_len=options.max_model_len)) as server:
        server.send([Stream(ALONE)], in_turn=True)  # warm
        alone: list[RequestRecord] = []
        for number in range(options.rounds):
            alone += server.send([Stream(ALONE)], in_turn=True)[0]
            for name, workload in compared.items():
                real[name].append(measured(server.send([Stream(list(workload))])[0]))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    overheads = calibrate(predictor, options.model, options.max_model_len, alone)
    found = {
        name: compare(real[name], simulated(predictor, options.model, options.max_model_len, workload, overheads))
        for name, workload in compared.items()
    }
    if options.output == "json":
        print(json.dumps({"scale": predictor.scale, "overheads": asdict(overheads), "workloads": found}, indent=2))
        return
    print(
        f"the machine takes {predictor.scale:.2f} times as long as when it was profiled; beyond that a step takes "
        f"{1e3 * overheads.step_seconds:.2f} ms and a request {1e3 * overheads.gateway_seconds:.1f} ms"
    )
    print("| workload | figure | measured (s) | spread | simulated (s) | error | |\n|--|--|--|--|--|--|--|")
    for name, rows in found.items():
        for row in rows:
            verdict = "agrees" if row["agrees"] else "differs"
            print(
                f"| {name} | {row['figure']} | {row['measured']:.4g} | {row['spread']:.0%} | {row['simulated']:.4g} | "
                f"{row['error']:+.1%} | {verdict} |"
            )


if __name__ == "__main__":
    main()

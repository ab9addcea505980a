"""A simulation's results as plain data: summaries, quantiles, rates and shares. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vajra.metrics.sketch import Sketch
from vajra.simulator.metrics import BATCH_METRICS, IGNORED, INTER_ARRIVAL, REQUEST_METRICS, TOKEN_METRIC, Metrics
from vajra.simulator.objective import LATENCIES, Objective
from vajra.simulator.simulation import Simulation

STATISTICS = ("count", "min", "max", "mean", "median", "p90", "p95", "p99", "p99.9")


def summary(sketch: Sketch) -> dict[str, float | None]:
    """A sketch by STATISTICS; None for what an empty one does not have."""
    if not sketch.count:
        return {name: 0 if name == "count" else None for name in STATISTICS}
    values = (sketch.count, sketch.minimum, sketch.maximum, sketch.mean)
    return dict(zip(STATISTICS, (*values, *sketch.quantiles((0.5, 0.9, 0.95, 0.99, 0.999))), strict=True))


def report(simulation: Simulation, metrics: Metrics, objectives: Sequence[Objective] = ()) -> dict[str, Any]:
    """All of a simulation, for JSON. Times are in seconds."""
    duration = metrics.duration
    replicas = simulation.replicas
    blocks = sum(replica.scheduler.blocks.num_blocks for replica in replicas)

    def rate(amount: float) -> float:
        return amount / duration if duration > 0 else 0.0

    groups = ["all", *metrics.classes]
    every = metrics.requests()
    tokens = metrics.prompt_tokens + metrics.output_tokens
    return {
        "requests": {
            "arrived": metrics.num_arrived,
            "completed": metrics.num_completed,
            "refused": dict(metrics.refusals),
        },
        "duration": duration,
        "steps": simulation.steps,
        "throughput": {
            "requests": rate(metrics.num_completed),
            "output_tokens": rate(metrics.output_tokens),
            "total_tokens": rate(tokens),
        },
        "utilization": {
            "busy": rate(sum(replica.busy for replica in replicas) / len(replicas)),
            "kv": rate(sum(replica.block_seconds for replica in replicas) / blocks),
        },
        "latency": {
            group: {name: summary(metrics.requests(group)[metric]) for name, metric in LATENCIES.items()}
            for group in groups
        },
        "tbt": summary(metrics.token_gaps),
        "batch": {name: summary(sketch) for name, sketch in metrics.batches.items()},
        "restarts": every["request_num_restarts"].total,
        "targets": {"given": every.targets, "met": every.targets_met},
        "objectives": [
            {
                "objective": str(objective),
                "value": _number(objective.value(metrics)),
                "attained": _number(objective.attained(metrics)),
                "holds": objective.holds(metrics),
            }
            for objective in objectives
        ],
    }


def request_table(metrics: Metrics) -> list[dict[str, Any]]:
    """A row for each metric of requests and each class."""
    rows = [{"metric": INTER_ARRIVAL, "class": "all", **summary(metrics.inter_arrival)}]
    for group in ("all", *metrics.classes):
        sketches = metrics.requests(group)
        rows += [{"metric": name, "class": group, **summary(sketches[name])} for name in REQUEST_METRICS]
    ignored = dict.fromkeys(STATISTICS) | {"count": sum(metrics.refusals.values())}
    return [*rows, {"metric": IGNORED, "class": "all", **ignored}]


def batch_table(metrics: Metrics) -> list[dict[str, Any]]:
    """A row for each metric of batches, and one for tokens."""
    rows = [{"metric": name, **summary(metrics.batches[name])} for name in BATCH_METRICS]
    return [*rows, {"metric": TOKEN_METRIC, **summary(metrics.token_gaps)}]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value

"""More requests than a deployment can serve, in proportion to what it can: simulated on one H100 by its roofline."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vajra.config import VajraDeployment
from vajra.prediction.devices import H100
from vajra.prediction.shapes import MODEL_SHAPES
from vajra.simulator import Arrivals, Lengths, Request, SyntheticWorkload
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import ClusterPlan, roofline_plan

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ANSWERS = "lognormal:415:0.545:1:1000"  # as in ShareGPT, cut at 1,000 tokens
_AT_ONCE = 1000  # requests whose throughput is the capacity


@dataclass(frozen=True)
class Kind:
    """Requests of one kind, a part of all."""

    name: str
    share: float  # of the requests
    prompts: str  # lengths, in the text form of vajra.simulator.Lengths
    answers: str = ANSWERS
    ttft_target: float | None = None  # seconds

    def arrivals(self, rate: float, seconds: float, seed: int) -> list[Request]:
        """Poisson arrivals, `rate` per second."""
        workload = SyntheticWorkload(
            num_requests=math.ceil(rate * seconds),
            arrivals=Arrivals.parse(f"poisson:{rate}"),
            prompt_lengths=Lengths.parse(self.prompts),
            output_lengths=Lengths.parse(self.answers),
            seed=seed,
        )
        return [request._replace(ttft_target=self.ttft_target) for request in workload]


def plan(max_model_len: int, scheduler: dict[str, Any], prioritizer: dict[str, Any]) -> ClusterPlan:
    """Llama-3.1-8B on one H100, under two sections of a deployment's spec."""
    deployment = VajraDeployment.from_dict(
        {
            "apiVersion": "vajra.ai/v1alpha1",
            "kind": "VajraDeployment",
            "metadata": {"name": "overload"},
            "spec": {
                "model": {"name": MODEL, "maxModelLen": max_model_len},
                "scheduler": scheduler,
                "prioritizer": prioritizer,
            },
        }
    )
    return roofline_plan(deployment, MODEL_SHAPES[MODEL], H100)


def merged(streams: Iterable[Sequence[Request]]) -> list[Request]:
    """One stream, in order of arrival."""
    return list(heapq.merge(*streams, key=lambda request: request.arrival))


def simulate(cluster: ClusterPlan, requests: Sequence[Request], metrics: Metrics) -> None:
    """All requests to their ends. Ends the program when one does not come to it."""
    cluster.simulate(requests, metrics)
    if lost := len(requests) - metrics.num_completed:
        raise SystemExit(f"{lost} of {len(requests)} requests were lost")


def capacity(cluster: ClusterPlan, kinds: Sequence[Kind]) -> float:
    """Requests per second of a mix that a deployment ends when it always has some waiting: those of the middle of a
    thousand that come at once."""
    requests = merged(kind.arrivals(kind.share * _AT_ONCE, 1.0, seed) for seed, kind in enumerate(kinds))
    ends: list[float] = []
    metrics = Metrics()
    metrics.on_finished.append(lambda now, running: ends.append(now))
    simulate(cluster, requests, metrics)
    return steady_rate(ends)


def steady_rate(ends: Sequence[float]) -> float:
    """Ends per second, without the fifth that fills the batches and the one that empties them."""
    first, last = len(ends) // 5, len(ends) - len(ends) // 5 - 1
    return (last - first) / (ends[last] - ends[first])

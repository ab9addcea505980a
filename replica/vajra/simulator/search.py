"""How many replicas an objective takes, and how much load a plan holds: double, then bisect."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vajra.simulator.errors import SimulationError
from vajra.simulator.metrics import Metrics
from vajra.simulator.objective import Objective
from vajra.simulator.plan import ClusterPlan
from vajra.simulator.report import report
from vajra.simulator.running import Running
from vajra.simulator.workload import Workload

PRECISION = 0.02  # of a rate, relatively
_MOST_DOUBLINGS = 24


@dataclass(frozen=True)
class Trial:
    """One simulation of a search."""

    plan: ClusterPlan
    rate: float | None  # requests per second, where the search is for that
    holds: bool
    cut: bool  # it was ended as soon as it was certain not to hold: values are of the requests until then
    report: dict[str, Any]


@dataclass(frozen=True)
class Search:
    """What is tried and what has to hold; `progress` hears of each trial."""

    workload: Workload
    objectives: Sequence[Objective]
    long_prompt_tokens: int | None = None
    progress: Callable[[Trial], None] = lambda trial: None

    def __post_init__(self) -> None:
        if not self.objectives:
            raise SimulationError("a search needs an objective, as ttft:p90:2.0")

    def trial(self, plan: ClusterPlan, rate: float | None = None) -> Trial:
        """Simulates a plan, at another rate if one is given."""
        workload = self.workload if rate is None else self.workload.at_rate(rate)
        metrics = Metrics(long_prompt_tokens=self.long_prompt_tokens)
        simulation = metrics.simulation = plan.simulation(metrics)
        cut = _Cut(self.objectives, len(workload), metrics)
        metrics.on_prefilled.append(cut.prefilled)
        simulation.run(workload, stop=lambda: cut.certain)
        holds = not cut.certain and all(objective.holds(metrics) for objective in self.objectives)
        trial = Trial(plan, rate, holds, cut.certain, report(simulation, metrics, self.objectives))
        self.progress(trial)
        return trial

    def fewest_replicas(self, plan: ClusterPlan, most: int) -> Trial | None:
        """The trial with the fewest replicas, at most `most`, that holds; None if there is none."""
        low, high = 0, 1  # `low` does not hold
        best: Trial | None = None
        while best is None:
            if high > most:
                high = most
            if high <= low:
                return None
            trial = self.trial(plan.with_replicas(high))
            if trial.holds:
                best = trial
            else:
                low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            trial = self.trial(plan.with_replicas(middle))
            if trial.holds:
                high, best = middle, trial
            else:
                low = middle
        return best

    def cheapest(self, plans: Iterable[ClusterPlan], most_devices: int) -> list[tuple[ClusterPlan, Trial | None]]:
        """For each plan the trial with the fewest replicas that holds. None for one that needs more devices than the
        best before it, or than `most_devices`."""
        found: list[tuple[ClusterPlan, Trial | None]] = []
        limit = most_devices
        for plan in plans:
            ranks = plan.tensor * plan.pipeline
            trial = self.fewest_replicas(plan, limit // ranks)
            found.append((plan, trial))
            if trial is not None:
                limit = min(limit, trial.plan.devices)
        return found

    def highest_rate(self, plan: ClusterPlan, first: float) -> Trial | None:
        """The trial at the highest rate that holds, to 2%, starting from the rate `first`; None if there is none."""
        low, high = 0.0, math.inf  # `low` holds, `high` does not
        best: Trial | None = None
        rate = first
        for _ in range(_MOST_DOUBLINGS):
            trial = self.trial(plan, rate)
            if trial.holds:
                low, best = rate, trial
            else:
                high = rate
            if low and high < math.inf:
                break
            rate = 2 * rate if trial.holds else rate / 2
        while low and low * (1 + PRECISION) < high < math.inf:
            rate = math.sqrt(low * high)
            trial = self.trial(plan, rate)
            if trial.holds:
                low, best = rate, trial
            else:
                high = rate
        return best


class _Cut:
    """Says when a run is certain not to hold: more requests were too late than a bound on the first token allows, of
    all that there can be, or one was refused."""

    def __init__(self, objectives: Sequence[Objective], num_requests: int, metrics: Metrics) -> None:
        self.certain = False
        self._metrics = metrics
        bounds = [o for o in objectives if o.metric == "ttft"]
        self._bounds = [(o.seconds * (1 + 1e-3), o.requests) for o in bounds]
        self._left = [num_requests - math.ceil(o.quantile * num_requests) for o in bounds]

    def prefilled(self, now: float, running: Running) -> None:
        """A first token."""
        request = running.request
        for index, (seconds, group) in enumerate(self._bounds):
            if now - request.arrival > seconds and group in ("all", self._metrics.class_of(request)):
                self._left[index] -= 1
                self.certain |= self._left[index] < 0
        self.certain |= bool(self._metrics.refusals)

"""What a tenant that floods a server does to others, with and without `prioritizer.fairness: PerTenant`.

    python -m bench.fairness                       # simulated: a table and a plot, some minutes
    python -m bench.fairness --seeds 2 --seconds 120 -o json
    python -m bench.fairness --engine --rounds 3   # the engine of this machine, behind a gateway

Simulated: Llama-3.1-8B on one H100 whose speed is an analytic roofline; nothing of it was measured. Three tenants send
chats: `flood` four times its third of what the server can do, `busy` 70% of all that it can do, `modest` 15%. The first
two always have requests waiting, so VTC (Sheng et al., OSDI'24, theorem 4.4) bounds how much more service one has than
the other in any interval: 2 max(w_p L, w_q M), where a prompt's token counts w_p = 1 and a generated one w_q = 2, L is
the longest prompt and M is what fits into the KV cache; service counts by weight where weights differ.

On the engine: `vajra serve` with a key for each tenant and few slots. One tenant sends dozens of requests at once, the
other one every few seconds, first come first served and fairly in turn; the order changes while the server runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench import overload
from bench.overload import Kind, capacity, merged, plan
from bench.serving import LocalServer, Stream, latencies, makespan, serve
from bench.stats import Spread

from vajra.config import VajraDeployment
from vajra.scheduling.fairness import DECODE_PRICE, PREFILL_PRICE
from vajra.simulator import Request, SimulatedReplica
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import ClusterPlan
from vajra.simulator.replica import Step
from vajra.simulator.running import Running

CHATS = Kind("chats", 1.0, "lognormal:1730:0.93:1:6000")
LONGEST_PROMPT = 6000
LOADS = {"flood": 4 / 3, "busy": 0.7, "modest": 0.15}  # of what the server can do
PAIR = ("flood", "busy")  # these always have something waiting


@dataclass(frozen=True)
class Case:
    """A way to order requests. Tenants that are not named weigh 1."""

    name: str
    fair: bool
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def section(self) -> dict[str, Any]:
        """spec.prioritizer."""
        return {"type": "FCFS", "fairness": "PerTenant" if self.fair else "Disabled"}

    def weight(self, tenant: str) -> float:
        """Its share beside others."""
        return self.weights.get(tenant, 1.0)


FCFS, FAIR = Case("first come, first served", False), Case("fair", True)
CASES = (FCFS, FAIR, Case("fair, busy weighs 2", True, {"busy": 2.0}))


@dataclass(frozen=True)
class Outcome:
    """Of one simulated run. Service is in VTC's tokens; `curves` have it by tenant at each full second."""

    case: str
    seed: int
    shares: dict[str, float]  # of the service, while both of the pair had requests waiting
    difference: float  # largest of the pair's services by weight, in any interval of that time
    bound: float  # VTC's
    ttft: dict[str, tuple[float, float]]  # p50 and p90, in seconds
    curves: dict[str, list[float]]


class Service:
    """Listens to a simulation: what each tenant has had by each second, and how its requests waited."""

    def __init__(self, metrics: Metrics) -> None:
        self.curves: dict[str, list[float]] = {tenant: [] for tenant in LOADS}
        self.ttft: dict[str, list[float]] = defaultdict(list)
        self.queued: dict[str, list[tuple[float, float]]] = defaultdict(list)  # from and until when requests waited
        self._had = dict.fromkeys(LOADS, 0.0)
        metrics.on_step.append(self._step)
        metrics.on_prefilled.append(self._prefilled)

    def _step(self, now: float, replica: SimulatedReplica, step: Step) -> None:
        for tenant, curve in self.curves.items():
            curve += [self._had[tenant]] * max(0, int(now) + 1 - len(curve))
        tenants = {running.seq_id: running.request.tenant or "" for running in (*step.sampling, *step.partial)}
        for running in step.sampling:
            self._had[tenants[running.seq_id]] += DECODE_PRICE
        for chunk in step.batch.chunks:
            self._had[tenants[chunk.seq_id]] += PREFILL_PRICE * chunk.num_query

    def _prefilled(self, now: float, running: Running) -> None:
        tenant, arrival = running.request.tenant or "", running.request.arrival
        self.ttft[tenant].append(now - arrival)
        self.queued[tenant].append((arrival, running.dispatched))


def largest_difference(a: Sequence[float], b: Sequence[float]) -> float:
    """How much more one of two had than the other in any interval, from what they had had at the same points."""
    ahead = [x - y for x, y in zip(a, b, strict=True)]
    return max(ahead) - min(ahead)


def always_waiting(queued: Sequence[tuple[float, float]], end: int) -> int:
    """The second from which on, until `end`, there was always a request in the queue."""
    came, went = (np.sort(times) for times in np.array(queued).T)
    seconds = np.arange(end)
    waiting = np.searchsorted(came, seconds, "right") - np.searchsorted(went, seconds, "right")
    idle = np.flatnonzero(waiting <= 0)
    return int(idle[-1]) + 1 if idle.size else 0


def simulate(cluster: ClusterPlan, case: Case, rate: float, seconds: int, seed: int) -> Outcome:
    """All requests of `seconds`, to their ends. `rate` is what the server can do."""
    requests = merged(
        [
            request._replace(tenant=tenant, tenant_weight=case.weight(tenant))
            for request in CHATS.arrivals(load * rate, seconds, 100 * seed + number)
        ]
        for number, (tenant, load) in enumerate(LOADS.items())
    )
    metrics = Metrics()
    service = Service(metrics)
    overload.simulate(cluster, requests, metrics)
    end = int(min(max(r.arrival for r in requests if r.tenant == tenant) for tenant in LOADS))
    begin = max(always_waiting(service.queued[tenant], end) for tenant in PAIR)
    had = {tenant: curve[end] - curve[begin] for tenant, curve in service.curves.items()}
    one, other = ([value / case.weight(t) for value in service.curves[t][begin : end + 1]] for t in PAIR)
    return Outcome(
        case=case.name,
        seed=seed,
        shares={tenant: value / sum(had.values()) for tenant, value in had.items()},
        difference=largest_difference(one, other),
        bound=2 * max(PREFILL_PRICE * LONGEST_PROMPT, DECODE_PRICE * cluster.num_blocks * cluster.block_size),
        ttft={tenant: p50_p90(service.ttft[tenant]) for tenant in LOADS},
        curves={tenant: curve[: end + 1] for tenant, curve in service.curves.items()},
    )


def p50_p90(values: Sequence[float]) -> tuple[float, float]:
    """Two quantiles."""
    p50, p90 = np.percentile(values, (50, 90)).tolist()
    return p50, p90


def simulated(seconds: int, seeds: int) -> list[Outcome]:
    """All cases, for each seed."""
    clusters = [plan(8192, {"type": "FixedChunk"}, case.section) for case in CASES]
    rate = capacity(clusters[0], [CHATS])
    print(f"the server can do {rate:.2f} requests a second", file=sys.stderr)
    outcomes = []
    for seed in range(seeds):
        for case, cluster in zip(CASES, clusters, strict=True):
            print(f"seed {seed}: {case.name}", file=sys.stderr)
            outcomes.append(simulate(cluster, case, rate, seconds, seed))
    return outcomes


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Served tokens by tenant over time, of the first seed, and the pair's difference for all seeds."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(
        "Simulated, not measured: three tenants' chats, Llama-3.1-8B on an H100 (analytic roofline)", fontsize="medium"
    )
    *panels, last = figure.subplots(2, 2).flat
    top = max(max(curve) for outcome in outcomes for curve in outcome.curves.values()) / 1e6
    for axes, case in zip(panels, CASES, strict=True):
        first = next(outcome for outcome in outcomes if outcome.case == case.name)
        for tenant, curve in first.curves.items():
            axes.plot([value / 1e6 for value in curve], label=f"{tenant}: asks for {LOADS[tenant]:.0%}")
        axes.set(title=case.name, xlabel="seconds", ylabel="served tokens (millions, generated ones twice)")
        axes.set_ylim(0, 1.05 * top)
    for number, case in enumerate(CASES):
        for outcome in (o for o in outcomes if o.case == case.name):
            one, other = (np.array(outcome.curves[tenant]) / case.weight(tenant) for tenant in PAIR)
            label = case.name if outcome.seed == 0 else None
            last.plot((one - other) / 1e6, color=f"C{number + 3}", linewidth=0.8, label=label)
    last.axhline(outcomes[0].bound / 1e6, color="black", linestyle="--", linewidth=0.8, label="VTC's bound")
    last.set(title=f"{PAIR[0]} ahead of {PAIR[1]}, by weight", xlabel="seconds", ylabel="tokens (millions)")
    for axes in (*panels, last):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        axes.xaxis.label.set_fontsize("small")
        axes.yaxis.label.set_fontsize("small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(outcomes: Sequence[Outcome]) -> str:
    """Rows of a Markdown table: medians of the seeds, and their ranges."""
    tenants = list(LOADS)
    header = [
        *(f"{t}'s share" for t in tenants),
        f"{' − '.join(PAIR)}, at most",
        *(f"{t}'s TTFT p50 / p90 (its range)" for t in tenants),
    ]
    lines = [f"| order | {' | '.join(header)} |", "|--" * (len(header) + 1) + "|"]
    for case in CASES:
        found = [outcome for outcome in outcomes if outcome.case == case.name]
        cells = [spread([100 * o.shares[t] for o in found], "%") for t in tenants]
        cells.append(spread([o.difference / 1e3 for o in found], "k"))
        cells += [
            f"{statistics.median(o.ttft[t][0] for o in found):.3g} / {spread([o.ttft[t][1] for o in found], ' s')}"
            for t in tenants
        ]
        lines.append(f"| {case.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], unit: str) -> str:
    """The median and the range."""
    found = Spread.of(values)
    median, least, most = (
        f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (found.median, found.minimum, found.maximum)
    )
    return f"{median}{unit} ({least}–{most})"


# ---- on the engine

SLOTS = 8
KEYS = [{"name": "flood", "key": "a-flood"}, {"name": "modest", "key": "a-trickle"}]
FLOOD = [Request(0.0, 96 + 8 * (i % 9), 32) for i in range(32)]
TRICKLE = [Request(1.0 + 2.0 * i, 128, 32) for i in range(8)]


@dataclass(frozen=True)
class Round:
    """Of one run on the engine, in seconds."""

    case: str
    modest: tuple[float, float]  # p50 and p90 of the time to the first token
    flood: tuple[float, float]
    makespan: float


def measure(server: LocalServer, case: Case) -> Round:
    """Both tenants at once."""
    server.set_prioritizer(case.section)
    streams = [Stream(requests, entry["key"]) for requests, entry in zip((FLOOD, TRICKLE), KEYS, strict=True)]
    flood, modest = server.send(streams)
    return Round(case.name, p50_p90(latencies(modest)), p50_p90(latencies(flood)), makespan([*flood, *modest]))


def measured(model: str, rounds: int) -> list[Round]:
    """Both orders in turn, as often as `rounds`."""
    found = []
    deployment = VajraDeployment.for_model(model, max_model_len=1024, max_batch_size=SLOTS, chunk_size=256)
    with serve(deployment, KEYS) as server:
        server.send([Stream(FLOOD[:SLOTS], KEYS[0]["key"])])  # warm
        for number in range(rounds):
            for case in (FCFS, FAIR):
                print(f"round {number + 1} of {rounds}: {case.name}", file=sys.stderr)
                found.append(measure(server, case))
    return found


def engine_table(rounds: Sequence[Round]) -> str:
    """Rows of a Markdown table: medians of the rounds, and their ranges."""
    lines = ["| order | modest TTFT p50 | p90 | flood TTFT p50 | p90 | all done after |", "|--|--|--|--|--|--|"]
    for case in (FCFS, FAIR):
        found = [r for r in rounds if r.case == case.name]
        columns = zip(*((*r.modest, *r.flood, r.makespan) for r in found), strict=True)
        lines.append(f"| {case.name} | {' | '.join(spread(column, ' s') for column in columns)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fairness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=300, help="of simulated arrivals [%(default)s]")
    parser.add_argument("--seeds", type=int, default=5, help="simulated runs of each order [%(default)s]")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/fairness.png"), help="[%(default)s]")
    parser.add_argument("--engine", action="store_true", help="measure on this machine instead")
    parser.add_argument("--rounds", type=int, default=3, help="on the engine, of each order [%(default)s]")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="on the engine [%(default)s]")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    options = parser.parse_args(arguments)
    if options.engine:
        rounds = measured(options.model, options.rounds)
        found, text = [asdict(r) for r in rounds], engine_table(rounds)
    else:
        outcomes = simulated(options.seconds, options.seeds)
        plot(outcomes, options.plot)
        bound = statistics.median(o.bound for o in outcomes)
        found, text = [asdict(o) for o in outcomes], f"{table(outcomes)}\n\nVTC's bound is {bound / 1e3:.0f}k."
    print(json.dumps(found, indent=2) if options.output == "json" else text)


if __name__ == "__main__":
    main()

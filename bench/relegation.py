"""How many deadlines are met in overload, with and without `prioritizer.relegation: Late`.

    python -m bench.relegation                      # simulated: a table and a plot, some minutes
    python -m bench.relegation --loads 1,1.5 --seeds 1 -o json
    python -m bench.relegation --engine --rounds 3  # the engine of this machine, behind a gateway

Simulated: Llama-3.1-8B on one H100 whose speed is an analytic roofline; nothing of it was measured. Chats want their
first token within one second, one request in ten is a document of 8,000 to 24,000 tokens and has ten seconds. A load of
1 is what the server ends when it always has something waiting. Requests keep coming for two minutes, and then the
queue runs empty, so what was relegated is served in the end. Goodput is the share of deadlines that were met.

On the engine: `vajra serve` with few slots, short and long prompts with deadlines of their own, at a multiple of what
the server was just measured to do. The orders follow each other in each round; they change while the server runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench import overload
from bench.overload import ANSWERS, Kind, capacity, merged, plan, steady_rate
from bench.serving import LocalServer, Stream, latencies, makespan, serve
from bench.stats import Spread

from vajra.cli.benchmark.statistics import RequestRecord
from vajra.config import EdfRequestPrioritizerConfig, VajraDeployment
from vajra.simulator.metrics import Metrics
from vajra.simulator.plan import ClusterPlan
from vajra.simulator.running import Running

KINDS = (
    Kind("chats", 0.9, "lognormal:1730:0.93:1:6000", ttft_target=1.0),
    Kind("documents", 0.1, "uniform:8000:24000", ANSWERS, ttft_target=10.0),
)


@dataclass(frozen=True)
class Order:
    """A prioritizer, with relegation or without."""

    type: str
    relegates: bool

    @property
    def name(self) -> str:
        """As in tables."""
        return self.type + (" + relegation" if self.relegates else "")

    @property
    def section(self) -> dict[str, Any]:
        """spec.prioritizer."""
        return {"type": self.type, "relegation": "Late" if self.relegates else "Disabled"}


ORDERS = tuple(Order(kind, relegates) for kind in ("FCFS", "EDF", "LRS") for relegates in (False, True))


@dataclass(frozen=True)
class Outcome:
    """Of one run. Late ones are those that missed their deadline; seconds."""

    order: str
    load: float
    run: int  # seed or round
    met: float  # share of the deadlines
    met_by_kind: dict[str, float]
    late_p50: float  # how long after its deadline a late one had its first token
    late_max: float
    makespan: float

    @classmethod
    def of(cls, order: str, load: float, run: int, slacks: Mapping[str, Sequence[float]], makespan: float) -> Outcome:
        """From seconds between first token and deadline, by kind; negative ones are late."""
        every = np.concatenate([np.asarray(values) for values in slacks.values()])
        late = -every[every < 0]
        return cls(
            order,
            load,
            run,
            met=float(np.mean(every >= 0)),
            met_by_kind={kind: float(np.mean(np.asarray(values) >= 0)) for kind, values in slacks.items()},
            late_p50=float(np.median(late)) if late.size else 0.0,
            late_max=float(late.max()) if late.size else 0.0,
            makespan=makespan,
        )


def simulate(cluster: ClusterPlan, order: Order, load: float, rate: float, seconds: float, seed: int) -> Outcome:
    """All requests of `seconds`, to their ends. `rate` is what the server can do."""
    streams = [
        kind.arrivals(kind.share * load * rate, seconds, 100 * seed + number) for number, kind in enumerate(KINDS)
    ]
    requests = merged(streams)
    slacks: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    names = {kind.ttft_target: kind.name for kind in KINDS}
    metrics = Metrics()

    def prefilled(now: float, running: Running) -> None:
        target = running.request.ttft_target
        assert target is not None
        slacks[names[target]].append(running.request.arrival + target - now)

    metrics.on_prefilled.append(prefilled)
    overload.simulate(cluster, requests, metrics)
    return Outcome.of(order.name, load, seed, slacks, metrics.duration)


def simulated(loads: Sequence[float], seconds: float, seeds: int) -> list[Outcome]:
    """Every order at every load, for each seed."""
    clusters = {order: plan(32768, {"type": "FixedChunk"}, order.section) for order in ORDERS}
    rate = capacity(clusters[ORDERS[0]], KINDS)
    print(f"the server can do {rate:.2f} requests a second", file=sys.stderr)
    outcomes = []
    for order, cluster in clusters.items():
        for load in loads:
            print(f"{order.name} at load {load:g}", file=sys.stderr)
            outcomes += [simulate(cluster, order, load, rate, seconds, seed) for seed in range(seeds)]
    return outcomes


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Share of deadlines met over the load: medians, and the range over seeds as bands."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(
        "Simulated, not measured: chats due in 1 s, documents in 10 s, Llama-3.1-8B on an H100 (analytic roofline)",
        fontsize="medium",
    )
    left, right = figure.subplots(1, 2)
    loads = sorted({outcome.load for outcome in outcomes})
    for order in ORDERS:
        style = {
            "color": f"C{[o.type for o in ORDERS].index(order.type)}",
            "linestyle": "-" if order.relegates else ":",
        }
        runs = [[o for o in outcomes if o.order == order.name and o.load == load] for load in loads]
        met = [Spread.of([100 * o.met for o in found]) for found in runs]
        left.plot(loads, [s.median for s in met], marker="o", label=order.name, **style)
        left.fill_between(
            loads, [s.minimum for s in met], [s.maximum for s in met], color=style["color"], alpha=0.15, linewidth=0
        )
        late = [Spread.of([o.late_p50 for o in found]).median for found in runs]
        right.plot(loads, late, marker="o", label=order.name, **style)
    left.set(title="deadlines met (%)", xlabel="load", ylim=(0, 102))
    right.set(title="of those that were late: time past the deadline, p50 (s)", xlabel="load", ylim=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend(fontsize="small")  # for both
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(outcomes: Sequence[Outcome]) -> str:
    """Rows of a Markdown table: medians over the runs, and the range of what was met."""
    kinds = list(outcomes[0].met_by_kind)
    lines = [
        f"| load | order | deadlines met | {' | '.join(kinds)} | late by p50 | at most | all done after |",
        "|--" * (6 + len(kinds)) + "|",
    ]
    for load, order in dict.fromkeys((o.load, o.order) for o in sorted(outcomes, key=lambda o: o.load)):
        found = [o for o in outcomes if (o.load, o.order) == (load, order)]
        met = Spread.of([100 * o.met for o in found])
        cells = [f"{met.median:.0f}% ({met.minimum:.0f}–{met.maximum:.0f})"]
        cells += [f"{Spread.of([100 * o.met_by_kind[kind] for o in found]).median:.0f}%" for kind in kinds]
        cells += [
            f"{Spread.of([getattr(o, name) for o in found]).median:.3g} s"
            for name in ("late_p50", "late_max", "makespan")
        ]
        lines.append(f"| {load:g} | {order} | {' | '.join(cells)} |")
    return "\n".join(lines)


# ---- on the engine

SLOTS = 4
ENGINE_KINDS = (
    Kind("short", 0.8, "uniform:32:128", "uniform:8:24", ttft_target=2.0),
    Kind("long", 0.2, "uniform:500:900", "uniform:8:24", ttft_target=8.0),
)
_CALIBRATION = 24  # requests


def measure(server: LocalServer, order: Order, load: float, rate: float, seconds: float, number: int) -> Outcome:
    """The requests of `seconds`, to their ends."""
    server.set_prioritizer(order.section)
    streams = [
        Stream(kind.arrivals(kind.share * load * rate, seconds, 100 * number + i), ttft_target=kind.ttft_target)
        for i, kind in enumerate(ENGINE_KINDS)
    ]
    answers = server.send(streams)
    slacks = {
        kind.name: [(kind.ttft_target or 0.0) - ttft for ttft in latencies(records)]
        for kind, records in zip(ENGINE_KINDS, answers, strict=True)
    }
    every = [record for records in answers for record in records]
    return Outcome.of(order.name, load, number, slacks, makespan(every))


def engine_capacity(server: LocalServer) -> float:
    """Requests per second of the mix that the server ends now."""
    streams = [
        Stream([r._replace(arrival=0.0) for r in kind.arrivals(kind.share * _CALIBRATION, 1.0, i)])
        for i, kind in enumerate(ENGINE_KINDS)
    ]
    records: list[RequestRecord] = [record for found in server.send(streams) for record in found]
    return steady_rate(sorted(record.token_times[-1] for record in records))


def measured(model: str, types: Sequence[str], load: float, seconds: float, rounds: int) -> list[Outcome]:
    """Every order in turn, as often as `rounds`."""
    deployment = VajraDeployment.for_model(
        model,
        max_model_len=1024,
        max_batch_size=SLOTS,
        chunk_size=256,
        prioritizer_config=EdfRequestPrioritizerConfig(),  # so that it has times from the start
    )
    orders = [order for order in ORDERS if order.type in types]
    outcomes = []
    with serve(deployment) as server:
        engine_capacity(server)  # warm
        for number in range(rounds):
            rate = engine_capacity(server)
            print(f"round {number + 1} of {rounds}: the server can do {rate:.2f} requests a second", file=sys.stderr)
            for order in orders:
                print(f"  {order.name}", file=sys.stderr)
                outcomes.append(measure(server, order, load, rate, seconds, number))
    return outcomes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.relegation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--loads", default="0.8,0.9,1,1.1,1.25,1.5,2", help="simulated, of what it can do [%(default)s]"
    )
    parser.add_argument("--seconds", type=float, default=120, help="of simulated arrivals [%(default)s]")
    parser.add_argument("--seeds", type=int, default=3, help="simulated runs of each order and load [%(default)s]")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/relegation.png"), help="[%(default)s]")
    parser.add_argument("--engine", action="store_true", help="measure on this machine instead")
    parser.add_argument("--rounds", type=int, default=3, help="on the engine, of each order [%(default)s]")
    parser.add_argument("--types", default="EDF,LRS", help="on the engine: prioritizers [%(default)s]")
    parser.add_argument("--load", type=float, default=1.5, help="on the engine, of what it can do [%(default)s]")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="on the engine [%(default)s]")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    options = parser.parse_args(arguments)
    if options.engine:
        outcomes = measured(options.model, options.types.split(","), options.load, 16.0, options.rounds)
    else:
        loads = [float(load) for load in options.loads.split(",")]
        outcomes = simulated(loads, options.seconds, options.seeds)
        plot(outcomes, options.plot)
    print(json.dumps([asdict(o) for o in outcomes], indent=2) if options.output == "json" else table(outcomes))


if __name__ == "__main__":
    main()

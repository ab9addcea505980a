"""Vajra beside its peers on this machine, offline and over HTTP: medians, ratios, parts of the roofline.

    python -m bench.peers.install build/peers                       # once, about ten minutes
    python -m bench.compare                                         # everything
    python -m bench.compare --engines vajra,vllm --workloads W1,W2 --rounds 3 --results build/bench/quick.jsonl

Offline, requests × (prompt + new tokens): W1 1 × (128 + 128), W2 64 × (256 + 128) at once, W2s 16 × (256 + 64),
W3 8 × (2048 + 1), W4 1 × (8000 + 32). Over HTTP, by the load generator of `vajra bench`: W1h one request at a time,
W2h 16 at a time. Greedy, ends ignored, the same random token ids for all (llama.cpp's offline program takes its own).

Each engine has a process of its own, which stays loaded through the rounds of a model and is stopped (SIGSTOP) while
another is measured; llama.cpp offline loads anew each time, which is not counted. Rounds are interleaved: A B C, A B C.
A first, shorter run of each workload is not counted. A ratio is the median of the rounds' ratios to the best peer;
above 1 Vajra is ahead. A percentage is the part of the roofline: the time that bytes over read bandwidth, or operations
over the rate of products, would allow, both measured at the start of the same run.
Quit and run it again: it goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine, options, plots, report
from bench.engines import DEFAULT
from bench.peers.layout import Layout
from bench.results import OtherSettings, Results
from bench.roofline import Rates
from bench.session import Plan, measure
from bench.workloads import MODELS, WORKLOADS


def main() -> int:
    """Measures and reports. The exit status is 1 when an engine failed."""
    parser = options.parser("compare", __doc__)
    parser.add_argument("--engines", type=options.names, default=list(DEFAULT), help=f"[{','.join(DEFAULT)}]")
    parser.add_argument("--models", type=options.names, default=list(MODELS), help=f"[{','.join(MODELS)}]")
    parser.add_argument("--workloads", type=options.names, default=list(WORKLOADS), help=f"[{','.join(WORKLOADS)}]")
    parser.add_argument("--rounds", type=int, default=5, help="of each workload [%(default)s]")
    parser.add_argument("--results", type=Path, default=Path("build/bench/compare.jsonl"), help="[%(default)s]")
    parser.add_argument("--no-plot", action="store_true", help="do not draw RESULTS with .png")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    layout = Layout(given.peers.absolute())
    models = options.chosen("model", given.models, {name: name for name in MODELS}, parser)
    workloads = options.chosen("workload", given.workloads, WORKLOADS, parser)
    engines = options.engines(given.engines, layout, parser)
    plan = Plan(engines, models, workloads, given.rounds, given.threads, layout, given.results.parent / "logs")
    settings = {
        "engines": [engine.name for engine in engines],
        "models": models,
        "workloads": [str(workload) for workload in workloads],
        "threads": given.threads,
        "machine": machine.describe(),
    }
    try:
        results = Results.open(given.results, settings)
    except OtherSettings as error:
        parser.error(str(error))
    rates = _run(plan, results)
    table = report.rows(
        results.samples,
        {workload.name: workload for workload in workloads},
        {name: MODELS[name] for name in models},
        rates,
        {engine.name: engine.storage for engine in engines},
        [engine.name for engine in engines if engine.is_ours],
    )
    text = report.markdown(table)
    given.results.with_suffix(".md").write_text(text)
    if given.output == "json":
        print(json.dumps(_document(results, table), indent=2))
    else:
        print(_heading(plan, results, rates), text, sep="\n\n")
    if not given.no_plot:
        try:
            plots.comparison(table, given.results.with_suffix(".png"))
        except ImportError:
            print("no plot: it needs matplotlib (pip install 'vajra[plots]')", file=sys.stderr)
    for failure in results.failures:
        print(f"{failure.model} {failure.workload}: {failure.engine} failed: {failure.reason}", file=sys.stderr)
    return 1 if results.failures else 0


def _run(plan: Plan, results: Results) -> dict[str, Rates]:
    """Measures the machine unless the file has that, then all samples that are missing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("the machine's rates", total=plan.samples)
        if "rates" not in results.head:
            results.head["rates"] = {
                name: asdict(machine.measure(2 * MODELS[name].read_weights, plan.threads)) for name in plan.models
            }
        results.keep_complete_rounds({w.name: [engine.name for engine in plan.able(w)] for w in plan.workloads})
        results.start()
        measure(plan, results, lambda text, done: bar.update(task, description=text, advance=done))
    return {name: Rates(**values) for name, values in results.head["rates"].items()}


def _heading(plan: Plan, results: Results, rates: dict[str, Rates]) -> str:
    about = results.head["settings"]["machine"]
    lines = [", ".join(f"{key}: {value}" for key, value in about.items())]
    for model, rate in rates.items():
        lines.append(f"{model}: {rate.bandwidth / 1e9:.1f} GB/s read, {rate.flops / 1e9:.0f} GFLOP/s in bfloat16")
    for engine in plan.engines:
        version = results.versions.get(engine.name, "")
        lines.append(f"{engine.name}: {version}" + (f" ({engine.note})" if engine.note else ""))
    return "\n".join(lines)


def _document(results: Results, table: list[report.Row]) -> dict[str, Any]:
    return {
        **results.head,
        "versions": results.versions,
        "rows": [row.to_dict() for row in table],
        "failures": [asdict(failure) for failure in results.failures],
    }


if __name__ == "__main__":
    sys.exit(main())

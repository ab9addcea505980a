"""A benchmark's results for people and for machines: table, JSON files, plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vajra.cli.benchmark.statistics import PERCENTILES, Report, RequestRecord

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {"ttft": "TTFT", "itl": "ITL", "tpot": "TPOT", "e2e": "E2E"}


def print_report(report: Report, console: Console) -> None:
    """Latencies in milliseconds, throughput, and every kind of error."""
    from rich.table import Table

    table = Table(title="Latency (ms)", title_justify="left")
    for heading in ("", "mean", *(f"p{p}" for p in PERCENTILES), "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for key, name in NAMES.items():
        summary = report.latencies[key]
        if summary is None:
            table.add_row(name, *["–"] * (len(PERCENTILES) + 2))
        else:
            values = (summary.mean, *summary.percentiles.values(), summary.maximum)
            table.add_row(name, *(f"{1000 * v:.1f}" for v in values))
    console.print(table)
    console.print(
        f"{report.completed} of {report.requests} requests completed in {report.duration:.2f} s: "
        f"{report.rate(report.completed):.2f} requests/s, {report.rate(report.output_tokens):.1f} output tokens/s, "
        f"{report.rate(report.prompt_tokens + report.output_tokens):.1f} tokens/s in all"
    )
    lag = report.latencies["send_lag"]
    if lag is not None and lag.percentiles[99] > 0.01:
        console.print(
            f"requests were sent up to {1000 * lag.maximum:.0f} ms late (p99 {1000 * lag.percentiles[99]:.0f} ms): "
            "they waited for --concurrency, or the client is the bottleneck"
        )
    if report.short_answers:
        console.print(f"[yellow]{report.short_answers} answers are shorter than asked for[/yellow]")
    for reason, count in report.errors.items():
        console.print(f"[red]{count} failed:[/red] {reason}", markup=True, highlight=False)


def write_files(folder: Path, report: Report, records: Sequence[RequestRecord], setup: dict[str, Any]) -> list[Path]:
    """Writes result.json (setup and summary) and requests.jsonl (one record a line); returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    result, requests = folder / "result.json", folder / "requests.jsonl"
    result.write_text(json.dumps({"setup": setup, "result": report.to_dict()}, indent=2) + "\n")
    requests.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))
    return [result, requests]


def write_plots(folder: Path, records: Sequence[RequestRecord]) -> list[Path]:
    """Writes the cumulative distributions ttft.png and itl.png; returns the paths, fewer where there are no values.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    done = [r for r in records if r.error is None]
    series = {"ttft": [r.ttft for r in done], "itl": [gap for r in done for gap in r.itl]}
    paths = []
    for key, values in series.items():
        if not values:
            continue
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        x = np.sort(np.asarray(values)) * 1000
        axes.step(np.insert(x, 0, x[0]), np.arange(x.size + 1) / x.size, where="post")
        for percent, style in ((50, "--"), (99, ":")):
            value = float(np.percentile(x, percent))
            axes.axvline(value, linestyle=style, color="grey", label=f"p{percent} {value:.1f} ms")
        axes.set(xlabel=f"{NAMES[key]} (ms)", ylabel="fraction at or below", ylim=(0, 1.01))
        axes.set_title(f"{x.size} values", fontsize="medium")
        axes.legend(loc="lower right")
        axes.grid(alpha=0.3)
        path = folder / f"{key}.png"
        figure.savefig(path, dpi=120)
        paths.append(path)
    return paths

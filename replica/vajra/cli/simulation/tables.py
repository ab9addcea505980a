"""Results of `vajra simulate` as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vajra.cli.words import count

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("mean", "median", "p90", "p95", "p99", "max")
_NAMES = {"ttft": "TTFT", "delay": "delay", "tpot": "TPOT", "e2e": "E2E"}


def print_report(found: Mapping[str, Any], console: Console) -> None:
    """One simulation: latencies by class, rates, shares and objectives."""
    from rich.table import Table

    _print_setup(found["setup"], console)
    table = Table(title="Simulated latency (s)", title_justify="left")
    for heading in ("", "requests", *_COLUMNS):
        table.add_column(heading, justify="right" if heading in _COLUMNS else "left")
    for group, latencies in found["latency"].items():
        for key, name in _NAMES.items():
            table.add_row(name, group, *_cells(latencies[key]))
    table.add_row("TBT", "all", *_cells(found["tbt"]))
    console.print(table)
    requests, rates, shares = found["requests"], found["throughput"], found["utilization"]
    console.print(
        f"{requests['completed']} of {requests['arrived']} requests completed in {found['duration']:.1f} simulated "
        f"seconds: {rates['requests']:.2f} requests/s, {rates['output_tokens']:.0f} output tokens/s, "
        f"{rates['total_tokens']:.0f} tokens/s in all"
    )
    console.print(
        f"devices busy {shares['busy']:.0%}, KV blocks in use {shares['kv']:.0%}, "
        f"{found['restarts']:.0f} memory preemptions; {found['steps']} steps in {found['wall_seconds']:.1f} s"
    )
    for reason, refused in requests["refused"].items():
        console.print(f"[red]{refused} refused:[/red] {reason}", highlight=False)
    if found["targets"]["given"]:
        targets = found["targets"]
        console.print(f"{targets['met']} of {targets['given']} first tokens were in time for their deadlines")
    for objective in found["objectives"]:
        console.print(
            f"{_verdict(objective['holds'])} {objective['objective']}: {_objective(objective)}", highlight=False
        )


def print_search(found: Mapping[str, Any], console: Console) -> None:
    """Each layout with the fewest replicas that hold, the cheapest and what it takes."""
    from rich.table import Table

    if found["setup"] is not None:
        _print_setup({**found["setup"], "replicas": None}, console)
    table = Table(title=f"Fewest replicas that hold {', '.join(found['objectives'])}", title_justify="left")
    for heading in (
        "tensor",
        "pipeline",
        "replicas",
        "devices",
        *found["objectives"],
        "busy",
        "output tokens/s/device",
    ):
        table.add_column(heading, justify="right")
    best = found["best"]
    notes = []
    for row in found["layouts"]:
        layout = (str(row["tensor"]), str(row["pipeline"]))
        if "problem" in row:
            table.add_row(*layout, "–", "–", *["–" for _ in found["objectives"]], "–", "–")
            notes.append(f"tensor {layout[0]}, pipeline {layout[1]}: {row['problem']}")
            continue
        chosen = best is not None and layout == (str(best["tensor"]), str(best["pipeline"]))
        values = [_seconds(objective["value"]) for objective in row["objectives"]]
        per_device = row["throughput"]["output_tokens"] / row["devices"]
        cells = (str(row["replicas"]), str(row["devices"]), *values, f"{row['utilization']['busy']:.0%}")
        table.add_row(*layout, *cells, f"{per_device:.0f}", style="bold" if chosen else None)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
    if best is not None:
        console.print(
            f"cheapest: {_layout(best)}, {count(best['devices'], 'device')}",
            highlight=False,
        )
    if found["highest_rate"] is not None:
        console.print(f"it holds up to {found['highest_rate']:.3g} requests/s of this workload", highlight=False)


def print_rates(found: Mapping[str, Any], console: Console) -> None:
    """What was tried, by rate, and the highest that holds."""
    from rich.table import Table

    _print_setup(found["setup"], console)
    table = Table(title="Objectives by rate", title_justify="left")
    for heading in ("requests/s", *found["objectives"], "busy", ""):
        table.add_column(heading, justify="right")
    for trial in found["trials"]:
        cut = trial["cut"]  # before its quantiles said anything
        values = ["–" if cut else _seconds(objective["value"]) for objective in trial["objectives"]]
        busy = "–" if cut else f"{trial['utilization']['busy']:.0%}"
        table.add_row(f"{trial['rate']:.3g}", *values, busy, _verdict(trial["holds"]))
    console.print(table)
    if found["highest_rate"] is not None:
        console.print(f"the objectives hold up to {found['highest_rate']:.3g} requests/s", highlight=False)


def _print_setup(setup: Mapping[str, Any], console: Console) -> None:
    layout = "" if setup["replicas"] is None else f"{_layout(setup)}, "
    console.print(
        f"simulated, times from: {setup['times']}\n{layout}{setup['scheduler']}, {setup['prioritizer']}, KV cache of "
        f"{setup['kv_tokens']} tokens per replica",
        highlight=False,
    )


def _layout(of: Mapping[str, Any]) -> str:
    return f"{count(of['replicas'], 'replica')} of tensor {of['tensor']} x pipeline {of['pipeline']}"


def _cells(summary: Mapping[str, float | None]) -> Sequence[str]:
    return [_seconds(summary[name]) for name in _COLUMNS]


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _objective(objective: Mapping[str, Any]) -> str:
    if objective["value"] is None:
        return "no request has that latency"
    return f"{objective['value']:.4g} s, {objective['attained']:.2%} within"


def _verdict(holds: bool) -> str:
    return "[green]holds[/green]" if holds else "[red]missed[/red]"

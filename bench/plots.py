"""PNG plots of the benches; they need matplotlib (pip install 'vajra[plots]')."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import Row
from bench.stats import advantage


def comparison(table: Sequence[Row], path: Path) -> None:
    """Every engine's figures relative to the best peer's median, which is the line at 1; farther right is better."""
    from matplotlib.figure import Figure as Canvas  # no pyplot: no global state, no display

    compared = [row for row in table if row.best_peer is not None]
    if not compared:
        return
    engines = list(dict.fromkeys(engine for row in compared for engine in row.cells))
    height = 0.8 / len(engines)
    canvas = Canvas(figsize=(9, 1 + 0.22 * len(engines) * len(compared)), layout="constrained")
    axes = canvas.subplots()
    for index, engine in enumerate(engines):
        places, values, below, above = [], [], [], []
        for place, row in enumerate(compared):
            cell, better = row.cells.get(engine), row.figure.more_is_better
            if cell is None or row.best_peer is None:
                continue
            base = row.cells[row.best_peer].value.median
            middle, *ends = (
                advantage(value, base, more_is_better=better)
                for value in (cell.value.median, cell.value.minimum, cell.value.maximum)
            )
            places.append(place + index * height)
            values.append(middle)
            below.append(middle - min(ends))
            above.append(max(ends) - middle)
        axes.barh(places, values, height, xerr=[below, above], label=engine, error_kw={"elinewidth": 0.8})
    axes.set_yticks(
        [place + 0.4 - height / 2 for place in range(len(compared))],
        [f"{row.model}\n{row.workload.name} {row.figure.name}" for row in compared],
        fontsize="small",
    )
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xlabel="relative to the best peer (above 1: ahead)")
    axes.legend(fontsize="small")
    axes.grid(axis="x", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)


def chunks(series: Mapping[str, Mapping[int, tuple[float, float]]], path: Path) -> None:
    """By engine and chunk size: (p99 of the decodes' inter-token latency, time to first token), both in ms."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 4), layout="constrained")
    titles = ("inter-token latency of 8 decodes, p99 (ms)", "time to first token of the prompt (ms)")
    for which, (axes, title) in enumerate(zip(canvas.subplots(1, 2), titles, strict=True)):
        for engine, points in series.items():
            sizes = sorted(points)
            axes.plot(sizes, [points[size][which] for size in sizes], marker="o", label=engine)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="prompt tokens in one step", title=title)
        axes.title.set_fontsize("small")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)

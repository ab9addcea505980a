"""Plots of a simulation; they need matplotlib (pip install 'vajra[plots]')."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vajra.simulator.files import cdf
from vajra.simulator.metrics import Metrics


def write_plots(folder: Path, metrics: Metrics, title: str) -> list[Path]:
    """Distributions of TTFT and TBT, queues, throughput and memory over time, histograms of requests.

    Raises ImportError.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    paths = []

    def saved(figure: Any, name: str) -> None:
        figure.suptitle(title, fontsize="small")
        figure.savefig(folder / name, dpi=120)
        paths.append(folder / name)

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for group in metrics.classes or ["all"]:
        _distribution(axes, cdf(metrics.requests(group)["prefill_e2e_time"]), group)
    axes.set(xlabel="time to first token (s)", ylabel="fraction at or below", xscale="log", ylim=(0, 1.01))
    axes.legend()
    saved(figure, "ttft.png")

    if metrics.token_gaps.count:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        _distribution(axes, [(value * 1e3, share) for value, share in cdf(metrics.token_gaps)], "all")
        axes.set(xlabel="time between tokens (ms)", ylabel="fraction at or below", ylim=(0, 1.01))
        saved(figure, "tbt.png")

    rows = metrics.series.rows
    if len(rows) > 1:
        column = {name: [row[i] for row in rows] for i, name in enumerate(metrics.series.columns)}
        time = column["time"]
        figure = Figure(figsize=(8, 7), layout="constrained")
        queue, done, memory = figure.subplots(3, sharex=True)
        queue.plot(time, column["waiting"], label="waiting at the gateway")
        queue.plot(time, column["running"], label="at replicas")
        queue.set(ylabel="requests")
        for name in ("prefill_completed", "decode_completed"):
            done.plot(time, column[name], label=name.replace("_completed", " tokens"))
        done.set(ylabel="tokens, cumulative")
        memory.plot(time, [100 * share for share in column["kv_utilization"]], label="KV blocks in use")
        memory.set(ylabel="%", xlabel="simulated seconds", ylim=(0, 101))
        for axes in (queue, done, memory):
            axes.legend(loc="upper left", fontsize="small")
            axes.grid(alpha=0.3)
        saved(figure, "timeline.png")

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("batch_num_prefill_tokens", "prefill tokens"), ("batch_num_decode_tokens", "decode tokens")):
        _distribution(axes, cdf(metrics.batches[name]), label)
    axes.set(xlabel="tokens of a batch", ylabel="fraction at or below", ylim=(0, 1.01), xscale="symlog")
    axes.legend()
    saved(figure, "batches.png")

    histograms = metrics.histograms()
    if histograms:
        figure = Figure(figsize=(12, 5), layout="constrained")
        every = figure.subplots(2, -(-len(histograms) // 2), squeeze=False).flat
        for (name, bins), axes in zip(histograms.items(), every, strict=False):
            widths = [b.high - b.low or 1.0 for b in bins]
            axes.bar([b.low for b in bins], [b.number for b in bins], widths, align="edge")
            axes.set(xlabel=name.removeprefix("request_").replace("_", " "), yscale="symlog")
        saved(figure, "requests.png")
    return paths


def _distribution(axes: Any, points: list[tuple[float, float]], label: str) -> None:
    axes.step([value for value, _ in points], [share for _, share in points], where="post", label=label)
    axes.grid(alpha=0.3)

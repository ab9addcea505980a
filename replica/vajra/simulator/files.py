"""Files of a simulation: summaries, distributions, time series; and, as they happen, requests, batches, ledgers and a
Chrome trace."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from vajra.metrics.sketch import Bin, Sketch
from vajra.simulator.metrics import REQUEST_METRICS, TOKEN_METRIC, Metrics, request_values
from vajra.simulator.replica import SimulatedReplica, Step
from vajra.simulator.report import batch_table, request_table
from vajra.simulator.running import Running

TRACE_EVENTS = 200_000  # most of a Chrome trace, about 50 MB; viewers take no more
KINDS = ("requests", "batches", "ledgers", "trace")
_POINTS = 1001  # of a distribution
_MOST_NAMED = 3  # requests that a ledger names


@contextmanager
def recording(folder: Path | None, metrics: Metrics, kinds: Iterable[str]) -> Iterator[list[Path]]:
    """Writes what is of `kinds` into a folder while a simulation runs; gives the paths."""
    paths: list[Path] = []
    with ExitStack() as stack:

        def opened(name: str) -> TextIO:
            assert folder is not None
            paths.append(folder / name)
            return stack.enter_context((folder / name).open("w", newline="", encoding="utf-8"))

        makers: Mapping[str, Callable[[], object]] = {
            "requests": lambda: metrics.on_finished.append(_request_rows(opened("requests.csv"))),
            "batches": lambda: metrics.on_step.append(_batch_rows(opened("batches.csv"))),
            "ledgers": lambda: metrics.on_finished.append(_ledger_lines(opened("ledgers.jsonl"))),
            "trace": lambda: metrics.on_step.append(stack.enter_context(chrome_trace(opened("chrome_trace.json")))),
        }
        for kind in kinds:
            makers[kind]()
        yield paths


def write_summaries(folder: Path, metrics: Metrics) -> list[Path]:
    """request_summary.csv, batch_summary.csv, time_series.csv, distributions of what people compare, and histograms."""
    paths = [
        _write_rows(folder / "request_summary.csv", request_table(metrics)),
        _write_rows(folder / "batch_summary.csv", batch_table(metrics)),
    ]
    series = metrics.series
    paths.append(_write(folder / "time_series.csv", series.columns, series.rows))
    for group in ("all", *metrics.classes):
        suffix = "" if group == "all" else f"_{group}"
        for name in ("prefill_e2e_time", "request_e2e_time"):
            paths.append(_write_cdf(folder / f"{name}{suffix}_cdf.csv", metrics.requests(group)[name]))
    paths.append(_write_cdf(folder / f"{TOKEN_METRIC}_cdf.csv", metrics.token_gaps))
    for name, bins in metrics.histograms().items():
        paths.append(_write(folder / f"{name}_histogram.csv", Bin._fields, bins))
    return paths


def cdf(sketch: Sketch) -> list[tuple[float, float]]:
    """Value and share at or below it, at 1001 shares; empty without values."""
    if not sketch.count:
        return []
    shares = [i / (_POINTS - 1) for i in range(_POINTS)]
    return list(zip(sketch.quantiles(shares), shares, strict=True))


def ledger(running: Running) -> dict[str, Any]:
    """Why a request took as long as it did: the fields of the engine's ledger (inference.v1), and whose it is."""
    assert running.sequence is not None
    book = running.sequence.ledger
    request, queued, first_token = running.request, running.queued, running.first_token
    assert book.first_scheduled is not None
    stay = {
        "queue_seconds": running.dispatched - request.arrival,
        "queue_blocked": {reason.value: count for reason, count in queued.blocked.items()},
        "queue_ahead": [{"request_id": name, "times": times} for name, times in queued.ahead.most(_MOST_NAMED)],
        "wait_seconds": book.first_scheduled - running.dispatched,
        "prefill_seconds": first_token - book.first_scheduled,
        "blocked": {reason.value: count for reason, count in book.blocked.items()},
        "ahead": [{"request_id": name, "times": times} for name, times in book.ahead.most(_MOST_NAMED)],
        "chunks": book.chunks,
        "batches": book.batches,
        "pauses": book.pauses,
        "preemptions": book.preemptions,
        "worker_losses": book.failovers,
        "discarded": book.discarded,
        "predicted_prefill_seconds": book.predicted_prefill,
        "slack_seconds_at_first_token": book.slack,
    }
    return {
        "request_id": str(running.seq_id),
        "tenant": request.tenant,
        "replica": running.replica,
        "arrival": request.arrival,
        "prompt_tokens": request.prompt_tokens,
        "output_tokens": request.output_tokens,
        "stays": [stay],
    }


def _request_rows(file: TextIO) -> Callable[[float, Running], None]:
    writer = csv.writer(file)
    writer.writerow(("id", "arrival", "replica", "tenant", *REQUEST_METRICS))

    def write(now: float, running: Running) -> None:
        request = running.request
        values = (f"{value:.9g}" for value in request_values(running))
        writer.writerow((running.seq_id, f"{request.arrival:.9g}", running.replica, request.tenant or "", *values))

    return write


def _batch_rows(file: TextIO) -> Callable[[float, SimulatedReplica, Step], None]:
    writer = csv.writer(file)
    columns = ("replica", "step", "planned", "start", "end", "sequences", "prefill_tokens", "decodes", "decode_context")
    writer.writerow((*columns, "preempted"))

    def write(now: float, replica: SimulatedReplica, step: Step) -> None:
        batch = step.batch
        times = (f"{time:.9g}" for time in (step.planned, step.start, step.end))
        counts = (len(batch.items), batch.num_tokens - batch.num_decodes, batch.num_decodes, batch.decode_context)
        writer.writerow((replica.index, batch.step_id, *times, *counts, len(batch.preempted)))

    return write


def _ledger_lines(file: TextIO) -> Callable[[float, Running], None]:
    def write(now: float, running: Running) -> None:
        file.write(json.dumps(ledger(running), separators=(",", ":")) + "\n")

    return write


@contextmanager
def chrome_trace(file: TextIO, most: int = TRACE_EVENTS) -> Iterator[Callable[[float, SimulatedReplica, Step], None]]:
    """Writes the first `most` steps as complete events for chrome://tracing or Perfetto; closes the list at the end."""
    count = 0

    def write(now: float, replica: SimulatedReplica, step: Step) -> None:
        nonlocal count
        if count >= most:
            return
        batch = step.batch
        ids = [item.seq_id for item in batch.items]
        event = {
            "ph": "X",
            "name": str(ids),
            "pid": f"Replica {replica.index}",
            "tid": 0,
            "ts": step.start * 1e6,
            "dur": (step.end - step.start) * 1e6,
            "args": {
                "batch_size": len(ids),
                "request_ids": ids,
                "num_q_tokens": [item.num_query_tokens for item in batch.items],
                "num_kv_tokens": batch.decode_context + sum(c.context + c.num_query for c in batch.chunks),
                "schedule_id": batch.step_id,
            },
        }
        file.write(("," if count else "") + json.dumps(event, separators=(",", ":")) + "\n")
        count += 1

    file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
    yield write
    file.write("]}\n")


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return _write(path, tuple(rows[0]), [tuple(row.values()) for row in rows])


def _write_cdf(path: Path, sketch: Sketch) -> Path:
    return _write(path, ("value", "share"), cdf(sketch))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"{value:.9g}" if isinstance(value, float) else value for value in row])
    return path

"""Metrics and files say of a run what can be reckoned from its requests and steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tests.simulator.machines import TokenMachine, plan, simulate

from vajra.config import FixedChunkReplicaSchedulerConfig
from vajra.inference.v1.inference_pb2 import Stay
from vajra.simulator import Arrivals, Lengths, Request, SyntheticWorkload
from vajra.simulator.files import KINDS, recording, write_summaries
from vajra.simulator.metrics import HISTOGRAMS, REQUEST_METRICS, Metrics
from vajra.simulator.objective import Objective
from vajra.simulator.plots import write_plots
from vajra.simulator.report import report
from vajra.simulator.series import Series

WORKLOAD = SyntheticWorkload(
    num_requests=400,
    arrivals=Arrivals.parse("8"),
    prompt_lengths=Lengths.parse("uniform:10:300"),
    output_lengths=Lengths.parse("uniform:1:20"),
    long_share=0.1,
    long_prompt_lengths=Lengths.parse("uniform:1000:2000"),
)
CLUSTER = plan(
    TokenMachine(2e-4, 1e-2),
    scheduler=FixedChunkReplicaSchedulerConfig(max_batch_size=8, chunk_size=128),
    num_blocks=300,
    max_model_len=2100,
    replicas=2,
)


def test_sketches_are_of_what_happened() -> None:
    metrics = Metrics(long_prompt_tokens=1000)
    simulation = CLUSTER.simulate(WORKLOAD, metrics)
    notes = simulate(CLUSTER, list(WORKLOAD))
    for group, is_long in (("short", False), ("long", True)):
        members = [r for _, r in notes.finished if (r.request.prompt_tokens >= 1000) is is_long]
        sketches = metrics.requests(group)
        assert sketches["prefill_e2e_time"].count == len(members)
        ttfts = [r.first_token - r.request.arrival for r in members]
        assert sketches["prefill_e2e_time"].mean == pytest.approx(np.mean(ttfts))
        exact = np.percentile(ttfts, 90, method="inverted_cdf")
        assert sketches["prefill_e2e_time"].quantile(0.9) == pytest.approx(exact, rel=0.0011)
        ends = [r.last_token - r.request.arrival for r in members]
        assert sketches["request_e2e_time"].mean == pytest.approx(np.mean(ends))
    assert metrics.token_gaps.count == sum(r.output_tokens - 1 for r in WORKLOAD)
    found = report(simulation, metrics, [Objective.parse("long.ttft:p50:0.1"), Objective.parse("tbt:p99:10")])
    assert found["requests"] == {"arrived": 400, "completed": 400, "refused": {}}
    duration = max(now for now, _ in notes.finished)
    assert found["duration"] == pytest.approx(duration)
    assert found["throughput"]["output_tokens"] == pytest.approx(sum(r.output_tokens for r in WORKLOAD) / duration)
    assert found["utilization"]["busy"] == pytest.approx(
        sum(step.batch.seconds for _, step in notes.steps) / duration / 2
    )
    assert 0 < found["utilization"]["kv"] < 1
    assert [objective["holds"] for objective in found["objectives"]] == [False, True]
    assert found["objectives"][1]["attained"] == 1.0
    assert metrics.batches["batch_size"].total == sum(len(step.batch.items) for _, step in notes.steps)


def test_delays_and_executions_make_up_the_whole() -> None:
    metrics = Metrics()
    CLUSTER.simulate(WORKLOAD, metrics)
    requests = metrics.requests()
    parts = ("request_scheduling_delay", "request_execution_time", "request_preemption_time")
    assert sum(requests[name].total for name in parts) == pytest.approx(requests["request_e2e_time"].total)


def test_files(tmp_path: Path) -> None:
    metrics = Metrics(long_prompt_tokens=1000)
    with recording(tmp_path, metrics, KINDS) as paths:
        CLUSTER.simulate(WORKLOAD, metrics)
    paths += write_summaries(tmp_path, metrics)
    paths += write_plots(tmp_path, metrics, "test")
    assert all(path.stat().st_size for path in paths)

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / name).open() as file:
            return list(csv.DictReader(file))

    assert len(rows("requests.csv")) == 400
    batches = rows("batches.csv")
    assert sum(int(row["prefill_tokens"]) for row in batches) >= sum(r.prompt_tokens for r in WORKLOAD)
    summary = {(row["metric"], row["class"]): row for row in rows("request_summary.csv")}
    assert int(summary["prefill_e2e_time", "all"]["count"]) == 400
    assert {name for name, _ in summary} >= set(REQUEST_METRICS)
    ledgers = [json.loads(line) for line in (tmp_path / "ledgers.jsonl").read_text().splitlines()]
    assert sum(ledger["output_tokens"] for ledger in ledgers) == sum(r.output_tokens for r in WORKLOAD)
    stays = [stay for ledger in ledgers for stay in ledger["stays"]]
    fields = set(Stay.DESCRIPTOR.fields_by_name) - {"partial"}  # a simulated replica is never lost
    assert all(set(stay) == fields for stay in stays)
    assert any(stay["queue_blocked"] and stay["queue_ahead"] for stay in stays)
    assert any(stay["blocked"].get("budget") for stay in stays)
    trace = json.loads((tmp_path / "chrome_trace.json").read_text())["traceEvents"]
    assert len(trace) == len(batches)
    assert {event["pid"] for event in trace} == {"Replica 0", "Replica 1"}
    for name in HISTOGRAMS:
        bins = rows(f"{name}_histogram.csv")
        assert len(bins) in (1, 25)
        assert sum(int(b["number"]) for b in bins) == 400 - (name == "request_inter_arrival_delay")
    series = rows("time_series.csv")
    assert [float(row["time"]) for row in series] == sorted(float(row["time"]) for row in series)


def test_a_series_is_bounded_and_spans_the_whole() -> None:
    series = Series(("value",), most=100)
    for i in range(100_000):
        if i >= series.due:
            series.add(i, (i,))
    assert 40 <= len(series.rows) <= 100
    assert series.rows[0][0] == 0
    assert series.rows[-1][0] > 95_000


def test_targets_of_clients_are_counted() -> None:
    metrics = Metrics()

    class Two:
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter([Request(0.0, 100, 1, ttft_target=1.0), Request(0.0, 100, 1, ttft_target=1e-3)])

        def __len__(self) -> int:
            return 2

        def at_rate(self, rate: float) -> Two:
            return self

    simulation = CLUSTER.simulate(Two(), metrics)
    assert report(simulation, metrics)["targets"] == {"given": 2, "met": 1}

"""Latencies and percentiles, against their definitions."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.cli.benchmark.statistics import Report, RequestRecord, Summary

FLOATS = st.floats(0, 1e6)


def record(
    times: list[float], *, sent: float = 1.0, tokens: int | None = None, error: str | None = None
) -> RequestRecord:
    count = len(times) if tokens is None else tokens
    return RequestRecord(0, 0.5, sent, 10, count, times, count, "length", error)


def test_latencies_of_one_request() -> None:
    r = record([1.5, 1.75, 2.5])
    assert (r.ttft, r.e2e, r.tpot) == (0.5, 1.5, 0.5)
    assert r.itl == [0.25, 0.75]


def test_merged_messages_count_every_token_in_tpot() -> None:
    r = record([2.0, 4.0], tokens=5)
    assert r.tpot == 0.5
    assert r.itl == [2.0]


def test_an_answer_of_one_token_has_no_tpot() -> None:
    r = record([2.0])
    assert r.tpot is None
    report = Report.of([r], 1.0)
    assert report.latencies["tpot"] is None
    assert report.latencies["itl"] is None
    assert report.latencies["ttft"] is not None


@given(st.lists(FLOATS, min_size=2, max_size=200))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    summary = Summary.of(values)
    assert summary is not None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent, value in summary.percentiles.items():
        assert value == pytest.approx(cuts[percent - 1], rel=1e-9, abs=1e-6)
    assert summary.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert summary.minimum <= summary.percentiles[50] <= summary.percentiles[99] <= summary.maximum


def test_failures_are_counted_by_reason_and_in_no_latency() -> None:
    records = [record([2.0, 3.0]), record([], error="HTTP 500: boom"), record([9.0], error="timed out after 1 s")]
    records.append(record([], error="HTTP 500: boom"))
    report = Report.of(records, duration=2.0)
    assert report.errors == {"HTTP 500: boom": 2, "timed out after 1 s": 1}
    assert (report.requests, report.completed, report.output_tokens, report.prompt_tokens) == (4, 1, 2, 10)
    assert report.latencies["ttft"] is not None
    assert report.latencies["ttft"].count == 1
    data = report.to_dict()
    assert data["request_throughput"] == 0.5
    assert data["output_token_throughput"] == 1.0


def test_a_report_of_nothing_has_no_numbers() -> None:
    report = Report.of([], 0.0)
    assert all(summary is None for summary in report.latencies.values())
    assert report.to_dict()["request_throughput"] == 0.0

"""Searches find optima that are known by arithmetic."""

from __future__ import annotations

import dataclasses

import pytest
from tests.simulator.machines import TokenMachine, plan

from vajra.config import FixedChunkReplicaSchedulerConfig
from vajra.simulator import Arrivals, Lengths, SimulationError, SyntheticWorkload
from vajra.simulator.metrics import Metrics
from vajra.simulator.objective import Objective
from vajra.simulator.plan import ClusterPlan
from vajra.simulator.search import Search, Trial


def server(seconds: float, tensor: int = 1) -> ClusterPlan:
    """One request at a time, each of 1000 tokens that take `seconds` together."""
    scheduler = FixedChunkReplicaSchedulerConfig(max_batch_size=1, chunk_size=1000)
    return dataclasses.replace(plan(TokenMachine(seconds / 1000), scheduler=scheduler), tensor=tensor)


def workload(count: int, arrivals: str) -> SyntheticWorkload:
    lengths = Lengths.parse("1000"), Lengths.parse("1")
    return SyntheticWorkload(
        num_requests=count, arrivals=Arrivals.parse(arrivals), prompt_lengths=lengths[0], output_lengths=lengths[1]
    )


@pytest.mark.parametrize(("count", "bound", "fewest"), [(12, 3.0, 4), (12, 1.0, 12), (12, 12.0, 1), (100, 3.0, 34)])
def test_the_fewest_replicas_for_requests_that_come_at_once(count: int, bound: float, fewest: int) -> None:
    trials: list[Trial] = []
    search = Search(workload(count, "at-once"), [Objective("ttft", 0.99999, bound)], progress=trials.append)
    best = search.fewest_replicas(server(1.0), most=200)
    assert best is not None
    assert best.plan.replicas == fewest
    assert all(trial.holds == (trial.plan.replicas >= fewest) for trial in trials)
    assert search.fewest_replicas(server(1.0), most=fewest - 1) is None


def test_the_cheapest_layout_is_the_one_with_fewest_devices() -> None:
    """Two ranks are 1.9 times as fast as one, four are 5 times, and eight are no faster than that."""
    plans = [server(1.0), server(1 / 1.9, tensor=2), server(1 / 5, tensor=4), server(1 / 5, tensor=8)]
    search = Search(workload(12, "at-once"), [Objective("ttft", 0.99999, 3.0)])
    found = search.cheapest(plans, most_devices=100)
    assert [trial and trial.plan.devices for _, trial in found] == [4, None, 4, None]


def test_the_highest_rate_is_where_the_queue_begins_to_grow() -> None:
    """After n arrivals at gaps g a server that takes half a second is late by n (0.5 - g)."""
    search = Search(workload(200, "fixed:1"), [Objective("ttft", 0.99, 1.0)])
    highest = 1 / (0.5 - 0.5 / 197)
    for first in (0.3, 1.9, 50.0):
        best = search.highest_rate(server(0.5), first)
        assert best is not None
        assert best.rate is not None
        assert highest / 1.021 <= best.rate <= highest
    assert search.highest_rate(server(1.5), 1.0) is None


def test_a_run_is_cut_only_when_it_is_certain_to_fail() -> None:
    stream = workload(100, "fixed:3")
    for bound in (0.4, 0.6, 5.0, 20.0):
        objective = Objective("ttft", 0.9, bound)
        trial = Search(stream, [objective]).trial(server(0.5))
        metrics = Metrics()
        server(0.5).simulate(stream, metrics)
        assert trial.holds == objective.holds(metrics)
        assert not (trial.cut and trial.holds)
        if trial.cut:
            assert trial.report["requests"]["completed"] < 100


@pytest.mark.parametrize(
    "text", ["ttft", "ttft:p90", "ttft:90:x", "tft:p90:1", "ttft:p100:1", "short.tbt:p9:1", "a.ttft:p1:1"]
)
def test_a_bad_objective_is_told_what_is_allowed(text: str) -> None:
    with pytest.raises(SimulationError, match="is not an objective; allowed is"):
        Objective.parse(text)


def test_an_objective_reads_as_it_is_written() -> None:
    assert Objective.parse("ttft:p90:2.0") == Objective("ttft", 0.9, 2.0)
    assert Objective.parse("long.normalized-ttft:p99.9:0.01") == Objective("normalized-ttft", 0.999, 0.01, "long")
    assert str(Objective.parse("short.ttft:p50:1")) == "short.ttft p50 <= 1 s"

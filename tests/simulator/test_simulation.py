"""The clock, the queue and the steps: against recursions and formulas that need no simulator."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator.machines import Notebook, TokenMachine, plan, simulate

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    SpaceSharingReplicaSchedulerConfig,
)
from vajra.simulator import Request, SimulationError
from vajra.simulator.plan import ClusterPlan

SCHEDULERS = (
    FixedChunkReplicaSchedulerConfig(max_batch_size=4, chunk_size=64),
    DynamicChunkReplicaSchedulerConfig(max_batch_size=4, max_chunk_size_param=128, target_batch_time_param=0.05),
    SpaceSharingReplicaSchedulerConfig(
        max_batch_size=4, max_chunk_size_param=128, target_batch_time_param=0.05, long_seq_kv_cache_len_threshold=128
    ),
)
PRIORITIZERS = (FcfsRequestPrioritizerConfig(), EdfRequestPrioritizerConfig(), LrsRequestPrioritizerConfig())

requests = st.lists(
    st.builds(
        lambda arrival, prompt, output, slack: Request(arrival, prompt, output, output + slack),
        st.floats(0, 3),
        st.integers(1, 300),
        st.integers(1, 30),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=20,
).map(sorted)


@settings(max_examples=60)
@given(
    requests,
    st.sampled_from(SCHEDULERS),
    st.sampled_from(PRIORITIZERS),
    st.integers(1, 3),
    st.sampled_from([1, 2, 4]),
    st.integers(22, 60),
)
def test_every_request_ends_with_the_tokens_it_asked_for(
    stream: list[Request], scheduler: object, prioritizer: object, replicas: int, pipeline: int, blocks: int
) -> None:
    if isinstance(scheduler, SpaceSharingReplicaSchedulerConfig):
        prioritizer = PRIORITIZERS[2]
    cluster = plan(
        TokenMachine(1e-3, 5e-3),
        scheduler=scheduler,  # type: ignore[arg-type]
        prioritizer=prioritizer,  # type: ignore[arg-type]
        num_blocks=blocks,
        max_model_len=352,
        replicas=replicas,
        pipeline=pipeline,
    )
    notes = simulate(cluster, stream)
    assert sorted(running.request for _, running in notes.finished) == stream
    assert notes.tokens == sum(request.output_tokens for request in stream)
    assert all(running.produced == running.request.output_tokens for _, running in notes.finished)
    assert [step.end for _, step in notes.steps] == sorted(step.end for _, step in notes.steps)
    for _, running in notes.finished:
        assert running.sequence is not None
        first = running.sequence.ledger.first_scheduled
        assert first is not None
        assert running.request.arrival <= first < running.first_token <= running.last_token
        assert sum(running.sequence.ledger.chunks) >= running.request.prompt_tokens
    _check_stages(notes, pipeline)


def _check_stages(notes: Notebook, pipeline: int) -> None:
    """A replica computes no more than all its stages can, and a sequence is in one step at a time."""
    for index in {index for index, _ in notes.steps}:
        steps = [step for replica, step in notes.steps if replica == index]
        for earlier, later in itertools.pairwise(steps):
            assert later.start >= earlier.start + earlier.batch.seconds / pipeline - 1e-9
        last: dict[int, float] = {}
        for step in steps:
            for item in step.batch.items:
                assert step.start >= last.get(item.seq_id, 0.0) - 1e-9
                last[item.seq_id] = step.end


def test_the_same_requests_have_the_same_fate() -> None:
    generator = np.random.default_rng(1)
    stream = [
        Request(float(t), int(p), int(o))
        for t, p, o in zip(
            np.cumsum(generator.exponential(0.05, 200)),
            generator.integers(1, 500, 200),
            generator.integers(1, 50, 200),
            strict=True,
        )
    ]
    cluster = plan(TokenMachine(1e-4, 5e-3), replicas=3, scheduler=SCHEDULERS[1], prioritizer=PRIORITIZERS[2])
    one, other = simulate(cluster, stream), simulate(cluster, stream)
    assert [now for now, _ in one.finished] == [now for now, _ in other.finished]
    assert [r.replica for _, r in one.finished] == [r.replica for _, r in other.finished]


def one_at_a_time(**changes: object) -> ClusterPlan:
    """A server without batching: a prompt is one step, and there is one sequence."""
    scheduler = FixedChunkReplicaSchedulerConfig(max_batch_size=1, chunk_size=4096)
    return plan(TokenMachine(1e-3), scheduler=scheduler, **changes)  # type: ignore[arg-type]


def test_one_server_is_lindleys_recursion() -> None:
    generator = np.random.default_rng(2)
    gaps, tokens = generator.exponential(1.0, 2000), generator.integers(1, 1600, 2000)
    arrivals = np.cumsum(gaps)
    notes = simulate(one_at_a_time(), [Request(float(a), int(n), 1) for a, n in zip(arrivals, tokens, strict=True)])
    wait, ends = 0.0, []
    for i, work in enumerate(tokens * 1e-3):
        if i:
            wait = max(0.0, wait + tokens[i - 1] * 1e-3 - gaps[i])
        ends.append(arrivals[i] + wait + work)
    assert [now for now, _ in notes.finished] == pytest.approx(ends)


def test_mean_wait_of_m_d_1_is_pollaczek_and_khinchins() -> None:
    load, service, means = 0.7, 0.5, []
    for seed in range(20):
        arrivals = np.cumsum(np.random.default_rng(seed).exponential(service / load, 3000))
        notes = simulate(one_at_a_time(), [Request(float(a), 500, 1) for a in arrivals])
        means.append(np.mean([now - running.request.arrival - service for now, running in notes.finished[500:]]))
    expected = load * service / (2 * (1 - load))
    assert abs(np.mean(means) - expected) < 3 * np.std(means, ddof=1) / math.sqrt(len(means))


def test_what_arrives_waits_for_the_running_step_and_the_queued_one() -> None:
    """The first decodes for a second a step; the second comes 0.1 s after a step began."""
    stream = [Request(0.0, 1, 10), Request(3.1, 1, 1)]
    machine = TokenMachine(0.0, 1.0)
    for ahead, first_token in ((1, 6.0), (0, 5.0)):
        notes = simulate(plan(machine, ahead=ahead), stream)
        assert [now for now, request in notes.first_tokens if request is stream[1]] == [pytest.approx(first_token)]


def test_an_end_that_is_no_surprise_costs_no_token() -> None:
    known, surprise = Request(0.0, 10, 5), Request(0.0, 10, 5, max_tokens=100)
    for request, discarded in ((known, 0), (surprise, 1)):
        (_, running), *rest = simulate(plan(TokenMachine(1e-3)), [request]).finished
        assert not rest
        assert running.sequence is not None
        assert running.sequence.ledger.discarded == discarded


def test_what_a_gateway_refuses() -> None:
    cluster = one_at_a_time(max_model_len=1000)
    full = dataclasses.replace(one_at_a_time(), queue_capacity=1)
    assert simulate(cluster, [Request(0.0, 990, 11)]).refused == ["longer than max_model_len"]
    notes = simulate(full, [Request(0.0, 100, 1)] * 3)
    assert notes.refused == ["the queue is full"]
    assert len(notes.finished) == 2
    with pytest.raises(SimulationError, match="do not hold one sequence of 16384 tokens"):
        plan(TokenMachine(1e-3), num_blocks=4)


def test_overheads_are_paid() -> None:
    stream = [Request(0.0, 100, 3)]
    plain = simulate(plan(TokenMachine(1e-3)), stream)
    cluster = dataclasses.replace(plan(TokenMachine(1e-3)), step_seconds=0.5, gateway_seconds=0.25)
    dearer = simulate(cluster, stream)
    assert dearer.finished[0][0] == pytest.approx(plain.finished[0][0] + 3 * 0.5 + 0.25)


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_pipeline_serves_as_many_batches_at_once_as_it_has_stages(stages: int) -> None:
    """Each token of eight sequences is a second of work, of which every stage does its part at once with the others."""
    cluster = plan(TokenMachine(1.0), pipeline=stages)
    notes = simulate(cluster, [Request(0.0, 1, 50)] * 8)
    assert notes.finished[-1][0] == pytest.approx(8 * 50 / stages, rel=0.1)


def test_fairness_serves_two_tenants_alike_and_relegation_gives_up_what_is_late() -> None:
    """One tenant floods the server, the other comes a little later with few; deadlines are for half of a flood."""
    flood = [Request(0.0, 500, 1, ttft_target=10.0, tenant="a")] * 40
    few = [Request(0.01, 500, 1, ttft_target=10.0, tenant="b")] * 4
    plain = one_at_a_time()

    def last_of(cluster: ClusterPlan, tenant: str) -> float:
        return max(now for now, r in simulate(cluster, flood + few).finished if r.request.tenant == tenant)

    assert last_of(plain, "b") == pytest.approx(22.0)
    fair = dataclasses.replace(plain, per_tenant=True)
    assert last_of(fair, "b") < 6.0

    weighted = [Request(0.0, 500, 1, tenant="a")] * 30 + [Request(0.0, 500, 1, tenant="b", tenant_weight=2.0)] * 30
    first_thirty = [running.request.tenant for _, running in simulate(fair, weighted).finished[:30]]
    assert first_thirty.count("b") == pytest.approx(20, abs=1), "twice the weight, twice the service"

    def in_time(cluster: ClusterPlan) -> int:
        late_first = [Request(0.0, 500, 1, ttft_target=0.1)] * 10 + [Request(0.01, 500, 1, ttft_target=6.2)] * 10
        return sum(
            now <= r.request.arrival + (r.request.ttft_target or 0) for now, r in simulate(cluster, late_first).finished
        )

    assert in_time(plain) == 2
    assert in_time(dataclasses.replace(plain, relegate=True)) >= 9

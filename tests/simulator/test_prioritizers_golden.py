"""FCFS, EDF and LRS in the simulator: the case of Medha's paper, and an M/G/1 queue that is simulated anew here.

A request is all prefill: it has one token to generate, and its prompt takes a millisecond per 10 tokens.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.simulator.machines import TokenMachine, plan, simulate

from vajra.config import (
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    RequestPrioritizerConfig,
)
from vajra.scheduling import LrsPrioritizer, Sequence
from vajra.simulator import Request
from vajra.simulator.plan import ClusterPlan

PER_TOKEN = 1e-4
SHORT, LONG = 0.1, 10.0  # seconds of work
LONG_SHARE, MULTIPLIER, LEAST = 0.05, 1.5, 0.5
MEAN_WORK = (1 - LONG_SHARE) * SHORT + LONG_SHARE * LONG
CONFIGS: dict[str, RequestPrioritizerConfig] = {
    "FCFS": FcfsRequestPrioritizerConfig(),
    "EDF": EdfRequestPrioritizerConfig(),
    "LRS": LrsRequestPrioritizerConfig(),
}


def server(policy: str, quantum: float) -> ClusterPlan:
    """One server that takes a batch of `quantum` seconds at a time and decides anew before each."""
    tokens = round(quantum / PER_TOKEN)
    return plan(
        TokenMachine(PER_TOKEN),
        scheduler=FixedChunkReplicaSchedulerConfig(chunk_size=tokens, max_batch_size=tokens),
        prioritizer=CONFIGS[policy],
        num_blocks=100_000,
        block_size=128,
        max_model_len=200_000,
        ahead=0,
    )


def tokens_of(seconds: float) -> int:
    return round(seconds / PER_TOKEN)


@pytest.mark.parametrize(
    ("policy", "ends"),
    [("FCFS", (10.0, 10.5, 11.0)), ("EDF", (11.0, 5.5, 6.0)), ("LRS", (11.0, 6.12, 6.13))],
)
def test_the_case_of_the_paper(policy: str, ends: tuple[float, ...]) -> None:
    requests = [Request(arrival, tokens_of(w), 1, ttft_target=d) for arrival, w, d in [(0, 10, 16), *[(5, 0.5, 1)] * 2]]
    finished = simulate(server(policy, 0.01), requests).finished
    found = [now for now, _ in sorted(finished, key=lambda end: end[1].seq_id)]
    assert found == pytest.approx(ends, abs=0.011)  # a quantum


def test_slack_when_the_short_requests_of_the_paper_arrive() -> None:
    cluster = server("LRS", 0.01)
    prioritizer = LrsPrioritizer(LrsRequestPrioritizerConfig(), cluster.prefill_times)
    long = Sequence(1, tokens_of(10), tokens_of(10), 1, arrival=0.0, ttft_target=16.0)
    long.processed = tokens_of(5)
    short = Sequence(2, tokens_of(0.5), tokens_of(0.5), 1, arrival=5.0, ttft_target=6.0)
    assert prioritizer.key(long, 5.0) == pytest.approx(0.375, abs=1e-3)
    assert prioritizer.key(short, 5.0) == pytest.approx(0.5, abs=1e-3)


def random_load(load: float, count: int, seed: int) -> tuple[list[float], list[float]]:
    """Arrivals and work of a Poisson stream."""
    generator = np.random.default_rng(seed)
    arrivals = np.cumsum(generator.exponential(MEAN_WORK / load, count))
    return arrivals.tolist(), np.where(generator.random(count) < LONG_SHARE, LONG, SHORT).tolist()


def serve_by_hand(policy: str, arrivals: list[float], work: list[float], quantum: float) -> list[float]:
    """The queue by itself, without any code of the project: times from arrival to end."""
    left, ends = list(work), [0.0] * len(work)
    interval = [max(MULTIPLIER * w, LEAST) for w in work]
    now, arrived, waiting = 0.0, 0, list[int]()

    def key(i: int) -> tuple[float, int]:
        deadline = arrivals[i] + interval[i]
        keys = {"FCFS": arrivals[i], "EDF": deadline, "LRS": (deadline - now - left[i]) / interval[i]}
        return keys[policy], i

    while arrived < len(work) or waiting:
        if not waiting:
            now = max(now, arrivals[arrived])
        while arrived < len(work) and arrivals[arrived] <= now:
            waiting.append(arrived)
            arrived += 1
        first = min(waiting, key=key)
        turn = min(quantum, left[first])
        now += turn
        left[first] -= turn
        if left[first] < 1e-9:
            waiting.remove(first)
            ends[first] = now - arrivals[first]
    return ends


def short_ttfts(ends: list[float], work: list[float]) -> NDArray[np.float64]:
    """P50 and P90."""
    return np.percentile([end for end, w in zip(ends, work, strict=True) if w == SHORT], (50, 90))


def compare(load: float, seeds: int, count: int, quantum: float) -> dict[str, NDArray[np.float64]]:
    """Asserts that the simulator agrees with the queue by hand; the mean P50 and P90 of short requests by policy."""
    means = {}
    for policy in CONFIGS:
        cluster = server(policy, quantum)
        ours, by_hand = [], []
        for seed in range(seeds):
            arrivals, work = random_load(load, count, seed)
            requests = [Request(a, tokens_of(w), 1) for a, w in zip(arrivals, work, strict=True)]
            finished = sorted(simulate(cluster, requests).finished, key=lambda end: end[1].seq_id)
            ends = [now - running.request.arrival for now, running in finished]
            ours.append(short_ttfts(ends, work))
            by_hand.append(short_ttfts(serve_by_hand(policy, arrivals, work, quantum), work))
        difference = np.array(ours) - np.array(by_hand)
        error = difference.std(axis=0, ddof=1) / np.sqrt(seeds)
        # A batch ends for all that are in it, and takes what an ending request leaves of the quantum: that is all.
        assert (np.abs(difference.mean(axis=0)) <= 3 * error + 2 * quantum).all(), (policy, load, difference)
        means[policy] = np.mean(ours, axis=0)
    return means


def check_order(load: float, means: dict[str, NDArray[np.float64]]) -> None:
    """EDF is as bad as FCFS when the load is high; LRS is not."""
    fcfs, edf, lrs = (means[policy] for policy in ("FCFS", "EDF", "LRS"))
    assert lrs[1] < edf[1] < fcfs[1]
    if load < 0.9:
        assert edf[0] < lrs[0] < fcfs[0]
    else:
        assert 3 * lrs[0] < edf[0] < fcfs[0]


def test_short_requests_under_high_load() -> None:
    check_order(0.95, compare(0.95, seeds=6, count=400, quantum=0.05))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("load", [0.70, 0.95, 1.10])
def test_short_requests_at_every_load(load: float) -> None:
    check_order(load, compare(load, seeds=30, count=600, quantum=0.05))

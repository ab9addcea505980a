"""SpaceSharing: a long prefill leaves to short ones what its slack allows."""

from __future__ import annotations

import pytest
from tests.scheduling.formula import Formula

from vajra.config import (
    FcfsRequestPrioritizerConfig,
    LrsRequestPrioritizerConfig,
    SpaceSharingReplicaSchedulerConfig,
)
from vajra.scheduling import (
    Batch,
    BlockManager,
    FcfsPrioritizer,
    LrsPrioritizer,
    ReplicaScheduler,
    Sequence,
    SpaceSharing,
)

FORMULA = Formula()
CONFIG = SpaceSharingReplicaSchedulerConfig(long_seq_kv_cache_len_threshold=4000)
LRS = LrsPrioritizer(LrsRequestPrioritizerConfig(), FORMULA)


def make() -> ReplicaScheduler:
    return ReplicaScheduler(BlockManager(100_000, 16), SpaceSharing(CONFIG, LRS), LRS, FORMULA)


def long(seq_id: int, *, arrival: float = 0.0, target: float | None = None) -> Sequence:
    return Sequence(seq_id, 100_000, 100_000, 8, arrival=arrival, ttft_target=target)


def advance(scheduler: ReplicaScheduler, seq: Sequence, now: float) -> Batch:
    """Until `seq` counts as long; the batch after."""
    scheduler.add(seq)
    while seq.processed < CONFIG.long_seq_kv_cache_len_threshold:
        scheduler.complete(scheduler.schedule(now), ())
    return scheduler.schedule(now)


@pytest.mark.parametrize(("slack", "share"), [(0.9, 0.5), (0.3, 0.3), (0.05, 0.05), (0.0, 0.0), (-3.0, 0.0)])
def test_a_long_prefill_leaves_its_slack_up_to_half(slack: float, share: float) -> None:
    scheduler, seq = make(), long(1, target=1000.0)
    advance(scheduler, seq, 0.0)
    now = 1000.0 * (1 - slack) - FORMULA.remaining(100_000, seq.processed)
    assert LRS.key(seq, now) == pytest.approx(slack)
    target = CONFIG.target_batch_time_param * (1 - share)
    assert 0.9 * target < scheduler.schedule(now).seconds <= target


def test_a_short_prefill_takes_what_the_long_one_leaves() -> None:
    scheduler, seq = make(), long(1, target=1000.0)
    alone = advance(scheduler, seq, 0.0)
    assert alone.seconds <= 0.5 * CONFIG.target_batch_time_param
    scheduler.add(Sequence(2, 3000, 3000, 8, arrival=0.0, ttft_target=5000.0))
    batch = scheduler.schedule(0.0)
    assert [chunk.seq_id for chunk in batch.chunks] == [1, 2]
    assert batch.chunks[1].num_query > batch.chunks[0].num_query, "the same time, less context"
    assert batch.seconds > 0.9 * CONFIG.target_batch_time_param


def test_a_batch_has_one_long_prefill_at_most() -> None:
    scheduler = make()
    seqs = [long(1, target=1000.0), long(2, target=1000.0)]
    for seq in seqs:
        scheduler.add(seq)
        seq.processed = 5000  # as after many batches
    batch = scheduler.schedule(0.0)
    assert len(batch.chunks) == 1
    assert batch.seconds <= 0.5 * CONFIG.target_batch_time_param


def test_a_more_urgent_short_one_comes_first() -> None:
    scheduler, seq = make(), long(1, target=1000.0)
    advance(scheduler, seq, 0.0)
    scheduler.add(Sequence(2, 3000, 3000, 8, arrival=0.0, ttft_target=0.4))
    assert scheduler.schedule(0.0).chunks[0].seq_id == 2


def test_slack_is_read_from_lrs() -> None:
    with pytest.raises(TypeError, match="reads a request's slack from LRS; FcfsPrioritizer has none"):
        SpaceSharing(CONFIG, FcfsPrioritizer(FcfsRequestPrioritizerConfig()))


def test_patience_adds_nothing_to_a_batch_that_has_a_prefill() -> None:
    """A long prefill's least chunk exceeds the target already; short ones wait for it, however often."""
    tight = SpaceSharingReplicaSchedulerConfig(long_seq_kv_cache_len_threshold=4000, target_batch_time_param=1e-4)
    scheduler = ReplicaScheduler(BlockManager(100_000, 16), SpaceSharing(tight, LRS), LRS, FORMULA)
    seq = long(1, target=1000.0)
    scheduler.add(seq)
    seq.processed = 5000
    scheduler.add(Sequence(2, 3000, 3000, 8, arrival=0.0, ttft_target=5000.0))
    for _ in range(30):
        batch = scheduler.schedule(0.0)
        assert [chunk.seq_id for chunk in batch.chunks] == [1]
        scheduler.complete(batch, ())

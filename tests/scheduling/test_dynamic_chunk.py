"""DynamicChunk: as many tokens as the target allows, by a prediction that never falls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scheduling.formula import Formula

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
)
from vajra.scheduling import (
    Batch,
    Blocked,
    BlockManager,
    ChunkPolicy,
    DynamicChunk,
    FcfsPrioritizer,
    ReplicaScheduler,
    Sequence,
    chunk_alone,
    policies,
)

FCFS = FcfsPrioritizer(FcfsRequestPrioritizerConfig())


def policy(*, target: float = 0.05, most: int = 8192, least: int = 32, batch_size: int = 128) -> DynamicChunk:
    config = DynamicChunkReplicaSchedulerConfig(
        max_batch_size=batch_size,
        max_chunk_size_param=most,
        min_chunk_size_param=least,
        target_batch_time_param=target,
    )
    return DynamicChunk(config, FCFS)


def make(chunks: ChunkPolicy, formula: Formula | None = None) -> ReplicaScheduler:
    return ReplicaScheduler(BlockManager(100_000, 16), chunks, FCFS, formula or Formula())


def sequence(seq_id: int, prompt: int, *, output: int = 8) -> Sequence:
    return Sequence(seq_id, prompt, prompt, output, arrival=float(seq_id))


def chunks_of(scheduler: ReplicaScheduler) -> list[Batch]:
    """All batches of one prompt."""
    batches = []
    while batch := scheduler.schedule(0.0):
        batches.append(batch)
        scheduler.complete(batch, [chunk.seq_id for chunk in batch.chunks if chunk.samples])
        if any(chunk.samples for chunk in batch.chunks):
            return batches
    raise AssertionError("the prompt did not get to its end")


def test_chunks_fall_as_context_grows_and_batches_take_the_target() -> None:
    scheduler = make(policy())
    scheduler.add(sequence(1, 20_000))
    *whole, last = chunks_of(scheduler)
    sizes = [batch.num_tokens for batch in whole]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1]
    assert all(size % 32 == 0 for size in sizes)
    assert all(0.9 * 0.05 < batch.seconds <= 0.05 for batch in whole)
    assert sum(sizes) + last.num_tokens == 20_000


@given(
    target=st.floats(0.002, 0.2),
    rest=st.integers(1, 3000),
    processed=st.integers(0, 50_000),
    decodes=st.integers(0, 20),
    most=st.integers(40, 2000),
    least=st.integers(1, 40),
)
def test_no_longer_chunk_would_do(
    target: float, rest: int, processed: int, decodes: int, most: int, least: int
) -> None:
    """Against all candidates, tried one by one."""
    chunks = policy(target=target, most=most, least=least)
    seq = sequence(1, processed + rest)
    seq.processed = processed
    batch = Batch(0, Formula().batch())
    batch.num_tokens = decodes
    if decodes:
        assert batch.time is not None
        batch.time.add_decodes(decodes, 100 * decodes)
    found = chunks.next_chunk(seq, batch, 0.0)
    room = most - decodes
    candidates = {rest, *(n for n in {least, *range(0, rest, 32)} if least <= n < rest)}
    fitting = [n for n in candidates if n <= room and batch.seconds_with(seq, n) <= target]
    forced = min(least, rest) if not decodes else 0
    assert found == max(fitting, default=forced)


def test_an_empty_batch_takes_the_least_chunk_whatever_it_costs() -> None:
    scheduler = make(policy(target=0.001, least=48))
    scheduler.add(sequence(1, 100))
    assert [batch.num_tokens for batch in chunks_of(scheduler)] == [48, 48, 4]


def test_decodes_that_use_the_target_up_leave_a_prefill_out() -> None:
    scheduler = make(policy(target=0.0012))
    first = sequence(1, 32, output=30)
    scheduler.add(first)
    scheduler.complete(scheduler.schedule(0.0), [1])
    second = sequence(2, 500)
    scheduler.add(second)
    batch = scheduler.schedule(0.0)
    assert [item.seq_id for item in batch.items] == [1]
    assert second.ledger.blocked == {Blocked.BUDGET: 1}
    scheduler.remove(1)
    assert [chunk.seq_id for chunk in scheduler.schedule(0.0).chunks] == [2]


def test_decodes_keep_a_prefill_out_for_a_while_only() -> None:
    scheduler = make(policy(target=0.0012))
    scheduler.add(sequence(1, 32, output=300))
    scheduler.complete(scheduler.schedule(0.0), [1])
    scheduler.add(sequence(2, 500))
    shares = []
    for _ in range(27):
        batch = scheduler.schedule(0.0)
        shares.append(sum(chunk.num_query for chunk in batch.chunks))
        scheduler.complete(batch, [1])
    assert shares == ([0] * 8 + [32]) * 3


def test_a_short_prompt_does_not_pass_one_that_has_no_room() -> None:
    scheduler = make(policy(target=0.0016))
    scheduler.add(sequence(1, 32, output=30))
    scheduler.complete(scheduler.schedule(0.0), [1])
    older, tiny = sequence(2, 500), sequence(3, 1)
    for seq in (older, tiny):
        scheduler.add(seq)
    batch = scheduler.schedule(0.0)
    assert batch.seconds_with(tiny, 1) < 0.0016 < batch.seconds_with(older, 32)
    assert not batch.chunks


def test_what_one_prefill_leaves_goes_to_the_next() -> None:
    scheduler = make(policy())
    scheduler.add(sequence(1, 100))
    scheduler.add(sequence(2, 3000))
    batch = scheduler.schedule(0.0)
    assert [chunk.seq_id for chunk in batch.chunks] == [1, 2]
    assert batch.chunks[0].num_query == 100
    assert 0.9 * 0.05 < batch.seconds <= 0.05


def test_the_largest_chunk_bounds_the_tokens_of_a_batch() -> None:
    scheduler = make(policy(target=10.0, most=100))
    for i in (1, 2):
        scheduler.add(sequence(i, 70))
    assert [chunk.num_query for chunk in scheduler.schedule(0.0).chunks] == [70]
    assert [chunk.num_query for chunk in scheduler.schedule(0.0).chunks] == [70]


@pytest.mark.parametrize(
    "config", [FixedChunkReplicaSchedulerConfig(), DynamicChunkReplicaSchedulerConfig(target_batch_time_param=0.02)]
)
def test_the_rule_for_a_prompt_alone_gives_the_chunks_that_it_gets(config: object) -> None:
    scheduler = make(policies.create(config, FCFS))
    scheduler.add(sequence(1, 9000))
    rule = chunk_alone(config, Formula(), 9000)
    for batch in chunks_of(scheduler):
        chunk = batch.chunks[0]
        assert rule(chunk.context) == chunk.num_query

"""The fixed chunk scheduler, one rule at a time."""

from __future__ import annotations

import pytest
from tests.scheduling.formula import Formula

from vajra.config import (
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
)
from vajra.scheduling import (
    Batch,
    Blocked,
    BlockManager,
    FcfsPrioritizer,
    FixedChunk,
    ReplicaScheduler,
    Sequence,
    SequenceState,
    policies,
    prioritizers,
)

FCFS = FcfsPrioritizer(FcfsRequestPrioritizerConfig())


def make(
    *, num_blocks: int = 1000, block_size: int = 4, max_batch_size: int = 8, chunk_size: int = 16
) -> ReplicaScheduler:
    return ReplicaScheduler(BlockManager(num_blocks, block_size), fixed_chunk(max_batch_size, chunk_size), FCFS)


def fixed_chunk(max_batch_size: int, chunk_size: int) -> FixedChunk:
    return FixedChunk(FixedChunkReplicaSchedulerConfig(max_batch_size=max_batch_size, chunk_size=chunk_size), FCFS)


def sequence(seq_id: int, prompt: int, *, output: int = 8, arrival: float | None = None) -> Sequence:
    return Sequence(seq_id, prompt, prompt, output, arrival=float(seq_id) if arrival is None else arrival)


def shape(batch: Batch) -> list[tuple[int, int]]:
    return [(item.seq_id, item.num_query_tokens) for item in batch.items]


def run(scheduler: ReplicaScheduler, batch: Batch, *sampled: int) -> None:
    scheduler.complete(batch, sampled)


def test_a_prompt_is_cut_into_chunks_and_owns_its_blocks_from_the_first() -> None:
    scheduler = make()
    scheduler.add(sequence(1, 40))
    batches = [scheduler.schedule(0.0) for _ in range(4)]
    assert [shape(b) for b in batches] == [[(1, 16)], [(1, 16)], [(1, 8)], [(1, 1)]]
    assert [len(b.items[0].new_block_ids) for b in batches] == [10, 0, 0, 1]


def test_decodes_come_first_and_count_against_the_budget() -> None:
    scheduler = make()
    first, second = sequence(1, 4), sequence(2, 40)
    scheduler.add(first)
    run(scheduler, scheduler.schedule(0.0), 1)
    scheduler.add(second)
    assert shape(scheduler.schedule(0.0)) == [(1, 1), (2, 15)]


def test_a_batch_is_planned_ahead_of_results_and_never_past_max_tokens() -> None:
    scheduler = make()
    scheduler.add(sequence(1, 4, output=3))
    batches = [scheduler.schedule(0.0) for _ in range(4)]
    assert [shape(b) for b in batches] == [[(1, 4)], [(1, 1)], [(1, 1)], []]
    for batch in batches[:3]:
        run(scheduler, batch, 1)
    scheduler.remove(1)
    scheduler.check_integrity()
    assert scheduler.blocks.used == 0


def test_other_bounds_hold_from_the_next_batch_and_preempt_nobody() -> None:
    scheduler = make()
    for i in range(1, 5):
        scheduler.add(sequence(i, 4))
    run(scheduler, scheduler.schedule(0.0), 1, 2, 3, 4)
    scheduler.adopt(fixed_chunk(2, 3), FCFS)
    scheduler.add(sequence(5, 4))
    assert scheduler.room().free_slots == 0
    assert shape(scheduler.schedule(0.0)) == [(1, 1), (2, 1), (3, 1), (4, 1)], "more than the bounds, but nobody new"
    for i in (1, 2, 3):
        scheduler.remove(i)
    assert shape(scheduler.schedule(0.0)) == [(4, 1), (5, 2)]
    scheduler.adopt(fixed_chunk(8, 16), FCFS)
    assert scheduler.room().free_slots == 6
    assert shape(scheduler.schedule(0.0)) == [(4, 1), (5, 2)]
    scheduler.check_integrity()


def test_prefills_under_way_and_waiting_share_one_order() -> None:
    scheduler = make(chunk_size=16)
    late, early = sequence(1, 40, arrival=5.0), sequence(2, 40, arrival=1.0)
    scheduler.add(late)
    assert shape(scheduler.schedule(5.0)) == [(1, 16)]
    scheduler.add(early)
    assert shape(scheduler.schedule(6.0)) == [(2, 16)]
    assert late.state is SequenceState.RUNNING
    assert late.ledger.blocked == {Blocked.BUDGET: 1}


def test_admission_keeps_a_watermark_but_an_idle_pool_has_none() -> None:
    scheduler = make(num_blocks=200, block_size=1, chunk_size=300)
    scheduler.add(sequence(1, 190))
    assert shape(scheduler.schedule(0.0)) == [(1, 190)]
    scheduler.add(sequence(2, 9))  # 10 blocks are free, 2 are the watermark
    scheduler.add(sequence(3, 8))
    batch = scheduler.schedule(0.0)
    assert shape(batch) == [(1, 1)]
    empty = make(num_blocks=200, block_size=1, chunk_size=300)
    empty.add(sequence(1, 192, output=8))
    assert shape(empty.schedule(0.0)) == [(1, 192)]


def test_a_younger_request_does_not_pass_an_older_one_that_waits_for_memory() -> None:
    scheduler = make(num_blocks=20, block_size=4, chunk_size=64)
    scheduler.add(sequence(1, 40))
    scheduler.schedule(0.0)
    big, small = sequence(2, 60), sequence(3, 4)
    scheduler.add(big)
    scheduler.add(small)
    assert shape(scheduler.schedule(0.0)) == [(1, 1)]
    assert big.ledger.blocked == {Blocked.MEMORY: 1}
    assert small.ledger.blocked == {Blocked.ORDER: 1}


def test_nobody_passes_a_younger_one_before_it_that_waits_for_memory() -> None:
    """Under a prioritizer that is not FCFS, the urgent one may be young and large."""

    class YoungestFirst(FcfsPrioritizer):
        def key(self, request: object, now: float) -> float:
            return -request.arrival  # type: ignore[attr-defined,no-any-return]

    prioritizer = YoungestFirst(FcfsRequestPrioritizerConfig())
    scheduler = ReplicaScheduler(BlockManager(20, 4), fixed_chunk(8, 64), prioritizer)
    scheduler.add(sequence(1, 40))
    scheduler.schedule(0.0)
    scheduler.add(sequence(3, 60))
    scheduler.add(small := sequence(2, 4))
    assert shape(scheduler.schedule(0.0)) == [(1, 1)]
    assert small.ledger.blocked == {Blocked.ORDER: 1}


def test_memory_preemption_takes_the_worst_prefill_first_and_recomputes() -> None:
    scheduler = make(num_blocks=10, block_size=4, chunk_size=2, max_batch_size=4)
    decode, prefill = sequence(1, 8, output=30), sequence(2, 28)
    scheduler.add(decode)
    for _ in range(3):
        run(scheduler, scheduler.schedule(0.0))
    run(scheduler, scheduler.schedule(0.0), 1)
    scheduler.add(prefill)
    while not (batch := scheduler.schedule(0.0)).preempted:
        assert shape(batch) == [(1, 1), (2, 1)]
        run(scheduler, batch, 1)
    assert shape(batch) == [(1, 1)]
    assert batch.preempted == [2]
    assert prefill.state is SequenceState.PREEMPTED
    assert prefill.ledger.preemptions == 1
    scheduler.check_integrity()


def test_sitting_out_is_a_pause_and_starting_again_is_none() -> None:
    edf = prioritizers.create(EdfRequestPrioritizerConfig(), Formula())
    config = FixedChunkReplicaSchedulerConfig(max_batch_size=8, chunk_size=16)
    scheduler = ReplicaScheduler(BlockManager(1000, 4), FixedChunk(config, edf), edf)
    begun = Sequence(1, 40, 40, 8, arrival=0.0, ttft_target=100.0)
    scheduler.add(begun)
    batches = [scheduler.schedule(0.0)]
    urgent = Sequence(2, 32, 32, 8, arrival=0.0, ttft_target=1.0)
    scheduler.add(urgent)
    batches += [scheduler.schedule(0.0) for _ in range(4)]
    assert [shape(b) for b in batches] == [[(1, 16)], [(2, 16)], [(2, 16)], [(2, 1), (1, 15)], [(2, 1), (1, 9)]]
    assert (begun.ledger.pauses, urgent.ledger.pauses) == (1, 0), "of two batches"
    scheduler.restart()
    scheduler.schedule(0.0)
    scheduler.schedule(0.0)
    assert (begun.ledger.pauses, urgent.ledger.pauses) == (1, 0)


def test_the_youngest_decode_is_the_victim_when_nobody_prefills() -> None:
    scheduler = make(num_blocks=4, block_size=4, chunk_size=8, max_batch_size=2)
    scheduler.add(sequence(1, 4, output=12))
    scheduler.add(sequence(2, 4, output=12))
    batch = scheduler.schedule(0.0)
    assert shape(batch) == [(1, 4), (2, 4)]
    run(scheduler, batch, 1, 2)
    for _ in range(4):
        run(scheduler, scheduler.schedule(0.0), 1, 2)
    batch = scheduler.schedule(0.0)
    assert batch.preempted == [2]
    assert shape(batch) == [(1, 1)]


def test_a_preempted_sequence_recomputes_prompt_and_output_in_chunks() -> None:
    scheduler = make(num_blocks=100, block_size=4, chunk_size=8)
    resumed = Sequence(1, 12, 5, 20, arrival=0.0)  # 5 of prompt, 7 generated before
    scheduler.add(resumed)
    assert [shape(scheduler.schedule(0.0)) for _ in range(3)] == [[(1, 8)], [(1, 4)], [(1, 1)]]
    assert resumed.planned == 14


def test_a_restart_makes_everything_wait_from_what_is_known() -> None:
    scheduler = make()
    scheduler.add(sequence(1, 4))
    run(scheduler, scheduler.schedule(0.0), 1)
    scheduler.schedule(0.0)
    scheduler.schedule(0.0)
    scheduler.restart()
    scheduler.check_integrity()
    assert scheduler.blocks.used == 0
    assert shape(scheduler.schedule(0.0)) == [(1, 5)]


def test_residents_fit_into_every_batch() -> None:
    scheduler = make(chunk_size=2, max_batch_size=8)
    for seq_id in (1, 2, 3):
        scheduler.add(sequence(seq_id, 1))
    assert shape(scheduler.schedule(0.0)) == [(1, 1), (2, 1)]
    assert shape(scheduler.schedule(0.0)) == [(1, 1), (2, 1)]
    assert scheduler.num_waiting == 1


def test_room_subtracts_what_waits() -> None:
    scheduler = make(num_blocks=200, block_size=4, max_batch_size=4, chunk_size=64)
    assert scheduler.room() == (4, 200)
    scheduler.add(sequence(1, 40))
    assert scheduler.room() == (3, 190)
    scheduler.schedule(0.0)
    assert scheduler.room() == (3, 188)  # the watermark counts once something is resident


def test_what_can_never_fit_is_refused() -> None:
    scheduler = make(num_blocks=2, block_size=4)
    with pytest.raises(ValueError, match="needs 3 KV blocks of 4 tokens; there are 2"):
        scheduler.add(sequence(1, 4, output=5))


def test_registries_find_implementations_by_config_class() -> None:
    fcfs = prioritizers.create(FcfsRequestPrioritizerConfig())
    assert isinstance(policies.create(FixedChunkReplicaSchedulerConfig(), fcfs), FixedChunk)
    with pytest.raises(NotImplementedError, match="implemented for object; implemented are: Edf"):
        prioritizers.create(object())


def test_isolated_sequences_run_alone_until_each_has_a_token() -> None:
    scheduler = make()
    work = [sequence(i, 20) for i in (1, 2, 3)]
    for seq in work:
        scheduler.add(seq)
    scheduler.schedule(0.0)
    scheduler.restart()
    scheduler.isolate([3, 1])
    batches = [scheduler.schedule(0.0), scheduler.schedule(0.0)]
    assert [shape(b) for b in batches] == [[(3, 16)], [(3, 4)]]
    assert not scheduler.schedule(0.0), "whether it yields a token is still to be seen"
    run(scheduler, batches[0])
    run(scheduler, batches[1], 3)
    assert [shape(b) for b in (scheduler.schedule(0.0), scheduler.schedule(0.0))] == [[(1, 16)], [(1, 4)]]
    assert work[1].ledger.blocked[Blocked.ISOLATION] == 4
    scheduler.remove(1)
    assert shape(scheduler.schedule(0.0)) == [(3, 1), (2, 15)]

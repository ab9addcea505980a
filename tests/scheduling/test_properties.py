"""Whatever arrives, finishes, is cancelled or dies, at any moment, and whichever rules are in force: the scheduler's
promises hold."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.scheduling.formula import Formula

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
    LrsRequestPrioritizerConfig,
    SpaceSharingReplicaSchedulerConfig,
)
from vajra.scheduling import (
    Batch,
    BlockManager,
    ChunkPolicy,
    FairPrioritizer,
    Prioritizer,
    RelegatingPrioritizer,
    ReplicaScheduler,
    Sequence,
    VirtualTokenCounters,
    policies,
    prioritizers,
)

NUM_BLOCKS, BLOCK_SIZE, MAX_LEN = 12, 4, 40
CHUNK, BATCH_SIZE = 6, 4
FORMULA = Formula(step=1.0, token=0.5, pair=0.01)
_TIMED = {"max_batch_size": BATCH_SIZE, "max_chunk_size_param": CHUNK, "min_chunk_size_param": 2}
TARGET = 3.3  # seconds: about four tokens
SCHEDULERS: list[Any] = [
    FixedChunkReplicaSchedulerConfig(max_batch_size=BATCH_SIZE, chunk_size=CHUNK),
    DynamicChunkReplicaSchedulerConfig(**_TIMED, target_batch_time_param=TARGET),
    SpaceSharingReplicaSchedulerConfig(**_TIMED, target_batch_time_param=TARGET, long_seq_kv_cache_len_threshold=8),
]
FCFS = FcfsRequestPrioritizerConfig()
LRS = LrsRequestPrioritizerConfig(min_deadline=5.0)
PRIORITIZERS: list[Any] = [FCFS, EdfRequestPrioritizerConfig(min_deadline=5.0), LRS]
PAIRS = [(s, p) for s in SCHEDULERS for p in PRIORITIZERS if p is LRS or s.type_name != "SpaceSharing"]


def rules(pair: tuple[Any, Any], *, wrap: bool = False) -> tuple[ChunkPolicy, Prioritizer, Formula]:
    prioritizer = prioritizers.create(pair[1], FORMULA)
    if wrap:
        prioritizer = RelegatingPrioritizer(FairPrioritizer(prioritizer, VirtualTokenCounters()), FORMULA)
    return policies.create(pair[0], prioritizer), prioritizer, FORMULA


class EngineModel:
    """The least that an engine does, with its complaints: block tables, tokens, steps in order."""

    def __init__(self) -> None:
        self.tokens: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.processed: dict[int, int] = {}
        self.tables: dict[int, list[int]] = {}

    def add(self, seq: Sequence) -> None:
        self.tokens[seq.seq_id] = seq.known
        self.last[seq.seq_id] = seq.last_token
        self.processed[seq.seq_id] = 0
        self.tables[seq.seq_id] = []

    def free(self, seq_id: int) -> None:
        for book in (self.tokens, self.last, self.processed, self.tables):
            book.pop(seq_id)

    def run(self, batch: Batch) -> list[int]:
        """Executes a step; the sequences that got a token."""
        for seq_id in batch.preempted:
            if seq_id in self.tables:
                self.tables[seq_id] = []
                self.processed[seq_id] = 0
        sampled = []
        for seq_id, count, blocks in batch.items:
            if seq_id not in self.tables:
                continue
            self.tables[seq_id] += blocks
            self.processed[seq_id] += count
            assert self.processed[seq_id] <= self.tokens[seq_id], "a query beyond the last token"
            assert self.processed[seq_id] <= len(self.tables[seq_id]) * BLOCK_SIZE, "a token without a block"
            if self.processed[seq_id] == self.tokens[seq_id]:
                self.tokens[seq_id] += 1
                assert self.tokens[seq_id] <= self.last[seq_id], "more than max_tokens"
                sampled.append(seq_id)
        owned = [block for table in self.tables.values() for block in table]
        assert len(owned) == len(set(owned)), "two sequences share a block"
        return sampled


class SchedulerMachine(RuleBasedStateMachine):
    """Two steps in flight at most, as a controller drives it; sequences end early, are cancelled, workers die."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = ReplicaScheduler(BlockManager(NUM_BLOCKS, BLOCK_SIZE), *rules(PAIRS[0]))
        self.pair, self.wrapped = PAIRS[0], False
        self.engine = EngineModel()
        self.in_flight: deque[tuple[Batch, list[int]]] = deque()
        self.alive: dict[int, Sequence] = {}
        self.now = 0.0
        self.next_id = 1
        self.isolated: list[int] = []  # in order

    @initialize(pair=st.sampled_from(PAIRS), wrap=st.booleans())
    def begin(self, pair: tuple[Any, Any], wrap: bool) -> None:
        self.swap(pair, wrap)

    @rule(pair=st.sampled_from(PAIRS), wrap=st.booleans())
    def swap(self, pair: tuple[Any, Any], wrap: bool) -> None:
        """Between two steps, whatever is in flight."""
        self.pair, self.wrapped = pair, wrap
        self.scheduler.adopt(*rules(pair, wrap=wrap))

    @rule(
        prompt=st.integers(1, 30),
        generated=st.integers(0, 5),
        output=st.integers(1, 10),
        age=st.integers(0, 3),
        tenant=st.sampled_from("ab"),
    )
    def arrive(self, prompt: int, generated: int, output: int, age: int, tenant: str) -> None:
        output = max(output, generated + 1)
        prompt = min(prompt, MAX_LEN - output)
        seq = Sequence(self.next_id, prompt + generated, prompt, output, arrival=self.now - age, tenant=tenant)
        self.next_id += 1
        self.scheduler.add(seq)
        self.engine.add(seq)
        self.alive[seq.seq_id] = seq

    @precondition(lambda self: len(self.in_flight) < 2)
    @rule()
    def schedule(self) -> None:
        self.now += 1.0
        before = {s.seq_id: bool(s.blocks) for s in self.alive.values()}
        batch = self.scheduler.schedule(self.now)
        if not batch:
            assert not self.alive or self.in_flight, "work, nothing in flight and nothing planned"
            return
        ids = [item.seq_id for item in batch.items]
        assert len(ids) == len(set(ids)) <= BATCH_SIZE
        assert set(ids) <= set(self.alive)
        assert 0 < sum(item.num_query_tokens for item in batch.items) == batch.num_tokens <= CHUNK
        self.check_time(batch)
        admitted = [self.alive[i] for i in ids if not before[i]]
        if self.isolated:
            assert ids == self.isolated[:1]
            with_worker = {item.seq_id for batch, _ in self.in_flight for item in batch.items}
            assert with_worker & set(self.alive) <= set(ids), "it is not alone"
        elif admitted and self.pair[1] is FCFS and not self.wrapped:
            youngest = max((s.arrival, s.seq_id) for s in admitted)
            waiting = [s for s in self.alive.values() if not s.blocks]
            assert all((s.arrival, s.seq_id) > youngest for s in waiting), "a younger request was admitted first"
        self.in_flight.append((batch, self.engine.run(batch)))

    def check_time(self, batch: Batch) -> None:
        """The prediction is that of what is in the batch; a prefill enters within the target, or the batch is its."""
        again = FORMULA.batch()
        again.add_decodes(batch.num_decodes, batch.decode_context)
        assert batch.num_decodes + len(batch.chunks) == len(batch.items)
        for chunk in batch.chunks:
            again.add_chunk(chunk.num_query, chunk.context, chunk.samples)
            forced = chunk is batch.chunks[0] and chunk.num_query <= 2  # the least, for progress
            assert self.pair[0] is SCHEDULERS[0] or again.seconds <= TARGET or forced
        assert again.seconds == batch.seconds
        if self.pair[0] is SCHEDULERS[2]:
            assert sum(chunk.context >= 8 for chunk in batch.chunks) <= 1, "two long prefills"

    @precondition(lambda self: self.in_flight)
    @rule(stop=st.booleans(), pick=st.integers(0, 3))
    def result(self, stop: bool, pick: int) -> None:
        batch, sampled = self.in_flight.popleft()
        sampled = [i for i in sampled if i in self.alive]
        self.scheduler.complete(batch, sampled)
        for index, seq_id in enumerate(sampled):
            seq = self.alive[seq_id]
            if seq_id in self.isolated:
                self.isolated.remove(seq_id)
            if seq.known == seq.last_token or (stop and index == pick):
                self.end(seq_id)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.alive))))

    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        self.in_flight.clear()
        self.scheduler.restart()
        suspects = st.lists(st.sampled_from(sorted(self.alive)), unique=True, max_size=3) if self.alive else st.just([])
        self.isolated = data.draw(suspects)
        self.scheduler.isolate(self.isolated)
        self.engine = EngineModel()
        for seq in self.alive.values():
            self.engine.add(seq)

    def end(self, seq_id: int) -> None:
        self.scheduler.remove(seq_id)
        self.engine.free(seq_id)
        self.isolated = [i for i in self.isolated if i != seq_id]
        del self.alive[seq_id]

    @invariant()
    def books_balance(self) -> None:
        self.scheduler.check_integrity()
        assert len(self.scheduler) == len(self.alive)
        assert self.scheduler.num_resident <= self.scheduler.slots

    def teardown(self) -> None:
        """Progress: with no more arrivals, everything ends, in a bounded number of steps."""
        steps = 0
        while self.alive or self.in_flight:
            if len(self.in_flight) < 2:
                self.schedule()
            if self.in_flight:
                self.result(stop=False, pick=0)
            steps += 1
            assert steps < 2000, "no progress"
        assert self.scheduler.blocks.used == 0
        self.scheduler.check_integrity()


SchedulerMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60)
TestScheduler = SchedulerMachine.TestCase


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].type_name}-{pair[1].type_name}")
def test_a_stream_of_short_requests_starves_no_long_one(pair: tuple[Any, Any]) -> None:
    """One short request comes every five seconds, which leaves a third of the time. (Under a lasting overload LRS keeps
    the long one waiting as long as short ones grow late faster.)"""
    scheduler = ReplicaScheduler(BlockManager(NUM_BLOCKS, BLOCK_SIZE), *rules(pair))
    engine = EngineModel()
    long = Sequence(0, 30, 30, 4, arrival=0.0)
    alive: dict[int, Sequence] = {}

    def add(seq: Sequence) -> None:
        scheduler.add(seq)
        engine.add(seq)
        alive[seq.seq_id] = seq

    add(long)
    now, next_id = 0.0, 1
    while long.seq_id in alive:
        while next_id * 5 <= now:
            add(Sequence(next_id, 1 + next_id % 5, 1 + next_id % 5, 2, arrival=now))
            next_id += 1
        batch = scheduler.schedule(now)
        now += batch.seconds
        sampled = engine.run(batch)
        scheduler.complete(batch, sampled)
        for seq_id in sampled:
            if alive[seq_id].known == alive[seq_id].last_token:
                scheduler.remove(seq_id)
                engine.free(seq_id)
                del alive[seq_id]
        assert now < 2000, "the long request starves"
    scheduler.check_integrity()

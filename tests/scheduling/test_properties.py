"""Whatever arrives, finishes, is cancelled or dies, at any moment: the scheduler's promises hold."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vajra.config import FcfsRequestPrioritizerConfig, FixedChunkReplicaSchedulerConfig
from vajra.scheduling import Batch, BlockManager, FcfsPrioritizer, FixedChunk, ReplicaScheduler, Sequence

NUM_BLOCKS, BLOCK_SIZE, MAX_LEN = 12, 4, 40


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
        self.chunk, self.batch_size = 6, 4
        config = FixedChunkReplicaSchedulerConfig(max_batch_size=self.batch_size, chunk_size=self.chunk)
        fcfs = FcfsPrioritizer(FcfsRequestPrioritizerConfig())
        self.scheduler = ReplicaScheduler(BlockManager(NUM_BLOCKS, BLOCK_SIZE), FixedChunk(config, fcfs), fcfs)
        self.engine = EngineModel()
        self.in_flight: deque[tuple[Batch, list[int]]] = deque()
        self.alive: dict[int, Sequence] = {}
        self.now = 0.0
        self.next_id = 1
        self.isolated: list[int] = []  # in order

    @rule(prompt=st.integers(1, 30), generated=st.integers(0, 5), output=st.integers(1, 10), age=st.integers(0, 3))
    def arrive(self, prompt: int, generated: int, output: int, age: int) -> None:
        output = max(output, generated + 1)
        prompt = min(prompt, MAX_LEN - output)
        seq = Sequence(self.next_id, prompt + generated, prompt, output, arrival=self.now - age)
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
        assert len(ids) == len(set(ids)) <= self.batch_size
        assert set(ids) <= set(self.alive)
        assert 0 < sum(item.num_query_tokens for item in batch.items) == batch.num_tokens <= self.chunk
        admitted = [self.alive[i] for i in ids if not before[i]]
        if self.isolated:
            assert ids == self.isolated[:1]
            with_worker = {item.seq_id for batch, _ in self.in_flight for item in batch.items}
            assert with_worker & set(self.alive) <= set(ids), "it is not alone"
        elif admitted:
            youngest = max((s.arrival, s.seq_id) for s in admitted)
            waiting = [s for s in self.alive.values() if not s.blocks]
            assert all((s.arrival, s.seq_id) > youngest for s in waiting), "a younger request was admitted first"
        self.in_flight.append((batch, self.engine.run(batch)))

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


SchedulerMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestScheduler = SchedulerMachine.TestCase

"""Composes batches for one replica: residents, admissions, memory. How long a chunk is says a ChunkPolicy."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from collections.abc import Sequence as SequenceABC

from vajra.scheduling.batch import Batch, Chunk, Room
from vajra.scheduling.blocks import BlockManager, IntegrityError
from vajra.scheduling.policy import ChunkPolicy
from vajra.scheduling.predictor import Predictor
from vajra.scheduling.prioritizer import Prioritizer
from vajra.scheduling.sequence import BatchItem, Blocked, Sequence


def _age_order(seq: Sequence) -> tuple[float, int]:
    return (seq.arrival, seq.seq_id)


class ReplicaScheduler:
    """Stall-free batching over one pool of KV blocks.

    A batch takes every running decode (oldest first), then prefills under way and waiting requests in one
    priority order, so a long prefill yields at each chunk boundary and keeps its KV. A request is admitted
    with blocks for its whole prompt, and passes none that waits for memory, so large requests do not
    starve. A decode without a block makes room by preemption with recomputation: the
    prefill under way with the worst priority, else the youngest decode, starts again.

    `schedule` works ahead of results: it may be called while earlier batches are in flight, and counts on
    each of them to yield its tokens. The caller reports each batch once, in order, by `complete`, and takes
    out what has ended by `remove`; after a worker's death it calls `restart` instead, and `isolate` when it
    looks for the sequence that was the cause.
    """

    def __init__(
        self,
        blocks: BlockManager,
        policy: ChunkPolicy,
        prioritizer: Prioritizer,
        predictor: Predictor | None = None,
        *,
        stages: int = 1,
    ) -> None:
        """`predictor` times the batches; the policies that predict need it. With pipeline `stages` a sequence is in no
        batch until the one it was in before can be through, `stages` batches later; others fill the pipeline, and each
        batch takes its share of the decodes."""
        self.blocks = blocks
        self._stages = stages
        self._sequences: dict[int, Sequence] = {}
        self.adopt(policy, prioritizer, predictor)
        self._resident: list[Sequence] = []  # oldest first
        self._waiting: list[Sequence] = []
        self._preempted: list[int] = []  # not yet told to the engine
        self._isolated: list[int] = []  # these run alone, one after another, each to its next token
        self._next_step = 0

    def adopt(self, policy: ChunkPolicy, prioritizer: Prioritizer, predictor: Predictor | None = None) -> None:
        """Goes on under other rules, from the next batch on. Nobody is preempted for it: under lower bounds the
        residents stay, their decodes are in every batch, and nothing else is until they are fewer."""
        self.policy, self.predictor = policy, predictor
        self._prioritizer = prioritizer
        for seq in self._sequences.values():
            prioritizer.joined(seq)

    @property
    def slots(self) -> int:
        """Most sequences with KV blocks."""
        return self.policy.slots

    def __len__(self) -> int:
        return len(self._sequences)

    @property
    def num_waiting(self) -> int:
        """Sequences without KV blocks."""
        return len(self._waiting)

    @property
    def num_resident(self) -> int:
        """Sequences that hold KV blocks."""
        return len(self._resident)

    def room(self) -> Room:
        """What may be sent here, what has been added and waits already subtracted."""
        reserved = sum(self.blocks.blocks_for(s.prefill_end) for s in self._waiting)
        return Room(max(0, self.slots - len(self._sequences)), max(0, self.blocks.admissible - reserved))

    def add(self, seq: Sequence) -> None:
        """Makes a sequence wait. Raises ValueError if its id is in use or it can never fit."""
        if seq.seq_id in self._sequences:
            raise ValueError(f"sequence {seq.seq_id} exists already")
        need = self.blocks.blocks_for(seq.last_token)
        if need > self.blocks.num_blocks:
            raise ValueError(
                f"a sequence of {seq.last_token} tokens needs {need} KV blocks of {self.blocks.block_size} tokens; "
                f"there are {self.blocks.num_blocks}"
            )
        self._sequences[seq.seq_id] = seq
        self._waiting.append(seq)
        self._prioritizer.joined(seq)

    def remove(self, seq_id: int) -> None:
        """Forgets a sequence that finished, was cancelled or expired; its blocks are free for the next batch."""
        seq = self._sequences.pop(seq_id)
        self._prioritizer.left(seq)
        seq.finished = True
        if seq.in_flight:
            seq.ledger.discarded += max(0, seq.planned - seq.known)
        if seq.blocks:
            self._resident.remove(seq)
            self._release(seq)
        else:
            self._waiting.remove(seq)
        if seq_id in self._preempted:
            self._preempted.remove(seq_id)
        if seq_id in self._isolated:
            self._isolated.remove(seq_id)

    def complete(self, batch: Batch, sampled: Iterable[int]) -> None:
        """Books a finished batch: `sampled` are the ids of the sequences that it yielded a token for."""
        find = self._sequences.get
        for item in batch.items:
            seq = find(item.seq_id)
            if seq is not None:
                seq.in_flight -= 1
        for seq_id in sampled:
            seq = find(seq_id)
            if seq is not None:
                seq.known += 1
                if seq_id in self._isolated:
                    self._isolated.remove(seq_id)

    def restart(self) -> None:
        """The worker is gone, with it all KV and every batch in flight: everything waits again, from what is known."""
        for seq in self._resident:
            self._release(seq)
            seq.ledger.failovers += 1
        self._waiting.extend(self._resident)
        self._resident.clear()
        self._preempted.clear()
        self._isolated.clear()
        for seq in self._waiting:
            seq.in_flight = 0
            seq.reset(seq.known)

    def isolate(self, seq_ids: Iterable[int]) -> None:
        """After `restart`: these sequences run before all others, one at a time and nothing beside them, each until it
        has yielded a token. So a worker's next death tells which of them it was."""
        self._isolated = list(seq_ids)

    def schedule(self, now: float) -> Batch:
        """The next batch, or a falsy one when nothing can run until a batch in flight completes."""
        batch = Batch(self._next_step, self.predictor.batch() if self.predictor is not None else None)
        if self._isolated:
            self._take_alone(batch, self._sequences[self._isolated[0]], now)
        else:
            preempted_before = len(self._preempted)
            self._take_decodes(batch, now)
            self._take_prefills(batch, now, admit=len(self._preempted) == preempted_before)
        if self._prioritizer.accounts:
            self._account(batch)
        if batch:
            self._next_step += 1
            batch.preempted, self._preempted = self._preempted, []
        return batch

    def check_integrity(self) -> None:
        """Audits queues and blocks. Raises IntegrityError."""
        self.blocks.check_integrity(s.blocks for s in self._resident)
        if any(s.blocks for s in self._waiting):
            raise IntegrityError("a waiting sequence holds KV blocks")
        if any(not s.blocks for s in self._resident):
            raise IntegrityError("a resident sequence holds no KV blocks")
        ids = [s.seq_id for s in self._resident] + [s.seq_id for s in self._waiting]
        if sorted(ids) != sorted(self._sequences):
            raise IntegrityError("a sequence is lost or in two queues")
        if self._resident != sorted(self._resident, key=_age_order):
            raise IntegrityError("resident sequences are not in order of age")

    def _account(self, batch: Batch) -> None:
        for item in batch.items[: batch.num_decodes]:
            self._prioritizer.served(self._sequences[item.seq_id], decode=1)
        for chunk in batch.chunks:
            self._prioritizer.served(self._sequences[chunk.seq_id], prefill=chunk.num_query, decode=int(chunk.samples))

    def _take_decodes(self, batch: Batch, now: float) -> None:
        block_size = self.blocks.block_size
        items = batch.items
        context = 0
        step, through = batch.step_id, batch.step_id - self._stages
        most = -(-len(self._resident) // self._stages)
        for seq in tuple(self._resident):
            processed = seq.processed
            if processed < seq.prefill_end or seq.planned == seq.last_token:  # one just preempted has prefill again
                continue
            last = seq.last_step
            if last > through and seq.in_flight:
                continue
            if len(items) == most:
                break
            item = seq.decode
            if processed == len(seq.blocks) * block_size:
                new_blocks = self._grow(seq, now)
                if not new_blocks:
                    seq.leave_out(Blocked.MEMORY, self._oldest)
                    continue
                item = BatchItem(seq.seq_id, 1, new_blocks)
            if last < through:
                seq.ledger.pauses += 1
            context += processed
            seq.processed = processed + 1
            seq.planned += 1
            seq.in_flight += 1
            seq.last_step = step
            seq.ledger.batches += 1
            items.append(item)
        batch.num_tokens = batch.num_decodes = len(items)
        batch.decode_context = context
        if batch.time is not None and items:
            batch.time.add_decodes(len(items), context)

    def _take_prefills(self, batch: Batch, now: float, *, admit: bool) -> None:
        through = batch.step_id - self._stages
        candidates = [
            s for s in self._resident if s.processed < s.prefill_end and not (s.in_flight and s.last_step > through)
        ]
        if not candidates and not self._waiting:
            return
        key = self._prioritizer.key
        candidates += self._waiting
        candidates.sort(key=lambda s: (key(s, now), not s.blocks, s.seq_id))
        blocking: Sequence | None = None  # the first that waits for memory
        first: Sequence | None = None  # that gets a chunk
        full = False
        for seq in candidates:
            tokens = None if full else self.policy.next_chunk(seq, batch, now)
            if tokens is None or tokens <= 0:
                full = full or tokens is not None
                seq.leave_out(Blocked.BUDGET, first or self._oldest)
                continue
            new_blocks: SequenceABC[int] = ()
            if not seq.blocks:
                reason = self._obstacle(seq, blocking, admit=admit)
                if reason is not None:
                    seq.leave_out(reason, blocking if reason is Blocked.ORDER else self._oldest)
                    if reason is Blocked.MEMORY:
                        blocking = seq
                    continue
                new_blocks = self._admit(seq)
            self._take_chunk(batch, seq, min(tokens, seq.prefill_end - seq.processed), new_blocks, now)
            first = first or seq

    @property
    def _oldest(self) -> Sequence | None:
        """The resident that has held its slot and its memory for longest."""
        return self._resident[0] if self._resident else None

    def _take_alone(self, batch: Batch, seq: Sequence, now: float) -> None:
        """The next chunk of an isolated sequence; nothing once its next token is in flight. Those that were cleared
        before it are resident and idle: they make room if need be."""
        if seq.processed == seq.prefill_end:
            return
        tokens = self.policy.next_chunk(seq, batch, now)
        assert tokens, "a policy gives an empty batch something"
        for other in self._sequences.values():
            if other is not seq:
                other.leave_out(Blocked.ISOLATION, seq)
        new_blocks: SequenceABC[int] = ()
        if not seq.blocks:
            while self.blocks.free < self.blocks.blocks_for(seq.prefill_end) or len(self._resident) >= self.slots:
                self._preempt(self._victim(now))
            new_blocks = self._admit(seq)
        self._take_chunk(batch, seq, min(tokens, seq.prefill_end - seq.processed), new_blocks, now)

    def _admit(self, seq: Sequence) -> SequenceABC[int]:
        """A waiting sequence becomes resident, with blocks for all that it has to prefill."""
        self._waiting.remove(seq)
        need = self.blocks.blocks_for(seq.prefill_end)
        seq.blocks = self.blocks.allocate(need, self.blocks.blocks_for(seq.last_token) - need)
        insort(self._resident, seq, key=_age_order)
        return tuple(seq.blocks)

    def _obstacle(self, seq: Sequence, blocking: Sequence | None, *, admit: bool) -> Blocked | None:
        """What forbids to admit a waiting sequence now."""
        if len(self._resident) >= self.slots:
            return Blocked.SLOTS
        if blocking is not None:
            return Blocked.ORDER
        if not admit or self.blocks.blocks_for(seq.prefill_end) > self.blocks.admissible:
            return Blocked.MEMORY
        return None

    def _take_chunk(self, batch: Batch, seq: Sequence, tokens: int, new_blocks: SequenceABC[int], now: float) -> None:
        samples = seq.processed + tokens == seq.prefill_end
        batch.items.append(BatchItem(seq.seq_id, tokens, new_blocks))
        batch.chunks.append(Chunk(seq.seq_id, tokens, seq.processed, samples))
        batch.num_tokens += tokens
        if batch.time is not None:
            batch.time.add_chunk(tokens, seq.processed, samples)
        seq.processed += tokens
        seq.in_flight += 1
        ledger = seq.ledger
        if not new_blocks and seq.last_step < batch.step_id - self._stages:
            ledger.pauses += 1
        seq.last_step = batch.step_id
        if samples:
            seq.planned += 1
        ledger.batches += 1
        ledger.chunks.append(tokens)
        if ledger.first_scheduled is None:
            ledger.first_scheduled = now

    def _grow(self, seq: Sequence, now: float) -> SequenceABC[int]:
        """One more block for a decode, by preemption if need be; empty if it has to wait or was preempted itself."""
        while self.blocks.free == 0:
            victim = self._victim(now)
            if victim is seq and any(s.planned == s.last_token for s in self._resident):
                return ()  # blocks come back with a batch in flight: recomputing would cost more
            self._preempt(victim)
            if victim is seq:
                return ()
        need = self.blocks.blocks_for(seq.last_token)
        block = self.blocks.grow(seq.blocks[-1], need - len(seq.blocks) - 1)
        seq.blocks.append(block)
        return (block,)

    def _victim(self, now: float) -> Sequence:
        """The prefill under way with the worst priority, else the youngest decode with something left to plan."""
        prefills = [s for s in self._resident if s.processed < s.prefill_end]
        if prefills:
            return max(prefills, key=lambda s: (self._prioritizer.key(s, now), s.seq_id))
        return next(s for s in reversed(self._resident) if s.planned < s.last_token)

    def _preempt(self, victim: Sequence) -> None:
        self._resident.remove(victim)
        self._release(victim)
        victim.reset(victim.planned)
        victim.ledger.preemptions += 1
        self._waiting.append(victim)
        self._preempted.append(victim.seq_id)

    def _release(self, seq: Sequence) -> None:
        self.blocks.release(seq.blocks)
        seq.blocks = []

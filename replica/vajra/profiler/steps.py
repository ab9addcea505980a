"""Whole steps of mixed batches on a live engine: prompts of all lengths pass in chunks while others decode."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from vajra.engine import BatchPlan, Engine, EngineOptions, PlanItem, SamplingParams
from vajra.prediction.measurements import Chunk, Step, StepShape

FIRST_SEQUENCE = 1 << 48  # ids that no scheduler gives
_TOKEN = 1  # what prompts are made of


@dataclass(frozen=True, kw_only=True)
class StepLimits:
    """Of the batches that are tried."""

    max_chunk: int
    max_context: int
    max_decodes: int


@dataclass
class _Running:
    seq_id: int
    prompt: int
    blocks: list[int] = field(default_factory=list)
    processed: int = 0
    is_long: bool = False

    @property
    def hurries(self) -> bool:
        """Whether it takes large chunks, to come to where contexts are long."""
        return self.is_long and self.processed < 0.8 * self.prompt

    @property
    def is_decode(self) -> bool:
        return self.processed >= self.prompt


class StepWalker:
    """Runs random batches, each after the other, with sequences that go on from one to the next.

    Batches, and so their contexts, follow from the seed alone. Uses only `free_blocks`.
    """

    def __init__(
        self,
        engine: Engine,
        options: EngineOptions,
        limits: StepLimits,
        free_blocks: Sequence[int],
        seed: int,
        long_prompts: Sequence[int] = (),
        first_sequence: int = FIRST_SEQUENCE,
    ) -> None:
        """`long_prompts`: lengths of the prompts that come first, among short ones; later ones are random.

        Raises ValueError when no block is free.
        """
        if not free_blocks:
            raise ValueError("free_blocks is empty; whole steps need some")
        self._engine, self._options, self._limits = engine, options, limits
        self._long_prompts = list(long_prompts)
        self._free = list(free_blocks)
        self._room = len(self._free) * options.block_size  # tokens
        self._rng = random.Random(seed)
        self._next_id = first_sequence
        self._running: list[_Running] = []
        self._step_id = 0
        self._crowd = 0  # how many sequences are to decode at a time
        self._episode_left = 0

    def step(self) -> Step:
        """Runs the next batch and says what it took. Raises EngineError when the engine fails."""
        if self._episode_left == 0:
            self._new_episode()
        self._episode_left -= 1
        decodes, chunks = self._choose()
        items, shape = self._plan(decodes, chunks)
        self._step_id += 1
        result = self._engine.submit(BatchPlan(self._step_id, items)).result()
        for seq in [s for s in self._running if s.processed + 1 >= self._longest]:
            self._end(seq)
        return Step(shape, result.seconds)

    def close(self) -> None:
        """Frees all sequences."""
        while self._running:
            self._end(self._running[-1])

    @property
    def _longest(self) -> int:
        return min(self._limits.max_context, self._options.max_model_len, self._room)

    def _new_episode(self) -> None:
        rng, limits = self._rng, self._limits
        for seq in list(self._running):
            if rng.random() < 0.5:
                self._end(seq)
        self._crowd = _log_uniform(rng, 1, limits.max_decodes)
        self._episode_left = rng.randint(10, 30)

    def _choose(self) -> tuple[list[_Running], list[tuple[_Running, int]]]:
        rng = self._rng
        decoding = [s for s in self._running if s.is_decode]
        prompts = [s for s in self._running if not s.is_decode]
        kind = rng.random()
        budget = self._options.max_batch_tokens
        decodes = decoding[: min(budget - 1, self._options.max_batch_size - 1)] if kind < 0.75 else []
        chunks: list[tuple[_Running, int]] = []
        left = budget - len(decodes)
        wanted = 0 if decodes and kind < 0.25 else 1 + (rng.random() < 0.15) + 2 * (rng.random() < 0.05)
        if len(decoding) < self._crowd / 2 and wanted:
            wanted = max(wanted, 2)  # few decode yet: short prompts at once
        for _ in range(wanted):
            if len(decodes) + len(chunks) >= self._options.max_batch_size or left < 1:
                break
            used = {seq.seq_id for seq, _ in chunks}
            prompt = next((s for s in prompts if s.seq_id not in used), None) or self._new_prompt(len(decoding))
            if prompt is None:
                break
            least = self._limits.max_chunk // 8 if prompt.hurries else 1
            size = _log_uniform(rng, max(1, least), self._limits.max_chunk)
            size = max(1, min(size, prompt.prompt - prompt.processed, left))
            chunks.append((prompt, size))
            left -= size
        if not decodes and not chunks:
            decodes = decoding[: min(budget, self._options.max_batch_size)]
        return decodes, chunks

    def _new_prompt(self, decoding: int) -> _Running | None:
        """A prompt whose blocks, with room to decode, are free: short while few decode, else of any length."""
        rng = self._rng
        if len(self._running) >= self._options.max_batch_size:
            return None
        longest = max(1, self._longest - 64)  # then there is room to decode
        short = max(1, min(longest, 256))
        is_long = bool(self._long_prompts) and not any(s.hurries for s in self._running)
        if is_long:
            length = self._long_prompts.pop(0)
        else:
            length = _log_uniform(rng, 1, short if decoding < self._crowd else longest)
        length = max(1, min(length, longest))
        seq = _Running(self._next_id, length, is_long=is_long)
        self._next_id += 1
        sampling = SamplingParams(temperature=0.0, max_tokens=self._options.max_model_len)
        self._engine.add_sequence(seq.seq_id, [_TOKEN] * length, length, sampling)
        self._running.append(seq)
        return seq

    def _plan(
        self, decodes: Sequence[_Running], chunks: Sequence[tuple[_Running, int]]
    ) -> tuple[list[PlanItem], StepShape]:
        items, context, shapes = [], 0, []
        count = 0
        planned = {s.seq_id for s in decodes} | {s.seq_id for s, _ in chunks}
        for seq in decodes:
            blocks = self._grow(seq, 1, planned)
            if blocks is None:
                continue
            context += seq.processed
            seq.processed += 1
            count += 1
            items.append(PlanItem(seq.seq_id, 1, blocks))
        for seq, size in chunks:
            blocks = self._grow(seq, size, planned)
            if blocks is None:
                continue
            shapes.append(Chunk(size, seq.processed, seq.processed + size == seq.prompt))
            seq.processed += size
            items.append(PlanItem(seq.seq_id, size, blocks))
        if not items:  # no block is free: all that runs gives way
            self.close()
            fresh = self._new_prompt(0)
            assert fresh is not None
            return self._plan([], [(fresh, min(fresh.prompt, self._limits.max_chunk))])
        return items, StepShape(count, context, tuple(shapes))

    def _grow(self, seq: _Running, tokens: int, planned: set[int]) -> list[int] | None:
        need = -(-(seq.processed + tokens) // self._options.block_size) - len(seq.blocks)
        while need > len(self._free):
            idle = next((s for s in self._running if s.seq_id not in planned), None)
            if idle is None:
                return None
            self._end(idle)
        new = self._free[:need]
        del self._free[:need]
        seq.blocks += new
        return new

    def _end(self, seq: _Running) -> None:
        self._running.remove(seq)
        self._free += seq.blocks
        self._engine.free_sequence(seq.seq_id)


@contextmanager
def walking(walker: StepWalker) -> Iterator[StepWalker]:
    """Frees the walker's sequences at the end, whatever happens."""
    try:
        yield walker
    finally:
        walker.close()


def chunk_within(seconds: float, time_of: Callable[[int], float], most: int) -> int:
    """The largest chunk of at most `most` tokens that takes at most `seconds`, by bisection; at least 1."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if time_of(middle) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def _log_uniform(rng: random.Random, low: int, high: int) -> int:
    return max(low, min(high, round(math.exp(rng.uniform(math.log(low), math.log(high + 1))))))

"""What a scheduler hands out: batches, and the room that is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vajra.scheduling.predictor import BatchTime
from vajra.scheduling.sequence import BatchItem, Sequence


class Chunk(NamedTuple):
    """A prefill's share: `num_query` tokens behind `context` tokens in the KV cache."""

    seq_id: int
    num_query: int
    context: int
    samples: bool  # it reaches the last token, so the step yields the next one


@dataclass(slots=True)
class Batch:
    """One step. `preempted` sequences lost their blocks before `items` run. Falsy when there is nothing to do."""

    step_id: int
    time: BatchTime | None = None  # predicted, where there is a predictor
    items: list[BatchItem] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    num_tokens: int = 0
    num_decodes: int = 0  # the first items
    decode_context: int = 0  # tokens in their KV caches, together
    chunks: list[Chunk] = field(default_factory=list)  # of the other items

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def seconds(self) -> float:
        """Predicted time so far; only where there is a predictor."""
        assert self.time is not None
        return self.time.seconds

    def seconds_with(self, seq: Sequence, num_query: int) -> float:
        """`seconds` with the next `num_query` tokens of a prefill."""
        assert self.time is not None
        return self.time.with_chunk(num_query, seq.processed, num_query == seq.remaining_prefill)


class Room(NamedTuple):
    """What a replica can take: sequences, and KV blocks for whole prompts."""

    free_slots: int
    free_blocks: int

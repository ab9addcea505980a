"""What a scheduler hands out: batches, and the room that is left."""

from __future__ import annotations

from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, field
from typing import NamedTuple


class BatchItem(NamedTuple):
    """One sequence's share of a batch; `new_block_ids` extend its block table."""

    seq_id: int
    num_query_tokens: int
    new_block_ids: SequenceABC[int]


@dataclass(slots=True)
class Batch:
    """One step. `preempted` sequences lost their blocks before `items` run. Falsy when there is nothing to do."""

    step_id: int
    items: list[BatchItem] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    num_tokens: int = 0

    def __bool__(self) -> bool:
        return bool(self.items)


class Room(NamedTuple):
    """What a replica can take: sequences, and KV blocks for whole prompts."""

    free_slots: int
    free_blocks: int

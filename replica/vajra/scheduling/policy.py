"""How many query tokens a prefill gets: the one thing in which schedulers differ."""

from __future__ import annotations

from abc import ABC, abstractmethod

from vajra.scheduling.batch import Batch
from vajra.scheduling.registry import Registry
from vajra.scheduling.sequence import Sequence


class ChunkPolicy(ABC):
    """One scheduler of the reference; `ReplicaScheduler` owns batching and memory for all of them."""

    def __init__(self, *, max_batch_size: int, max_tokens: int) -> None:
        """Most sequences and most query tokens of a batch, decodes included."""
        self.max_batch_size, self.max_tokens = max_batch_size, max_tokens

    @property
    def slots(self) -> int:
        """Most residents: bounded by both, so that every decode fits into every batch."""
        return min(self.max_batch_size, self.max_tokens)

    @abstractmethod
    def next_chunk(self, seq: Sequence, batch: Batch, now: float) -> int | None:
        """Prefill tokens of `seq` that `batch` has room for; more than it has left means all. An empty batch must take
        some.

        0 or less: there is no room, and what is less urgent gets none either, or else short prefills could keep a long
        one waiting for ever. None: leave this one out and go on."""


policies: Registry[ChunkPolicy] = Registry("scheduler")

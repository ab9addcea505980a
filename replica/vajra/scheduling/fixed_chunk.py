"""FixedChunk: at most chunk_size query tokens per batch, decodes included (Sarathi-Serve, OSDI'24, algorithm 3)."""

from __future__ import annotations

from vajra.config import FixedChunkReplicaSchedulerConfig
from vajra.scheduling.batch import Batch
from vajra.scheduling.policy import ChunkPolicy, policies
from vajra.scheduling.prioritizer import Prioritizer
from vajra.scheduling.sequence import Sequence


@policies.register(FixedChunkReplicaSchedulerConfig)
class FixedChunk(ChunkPolicy):
    """A prefill gets what decodes and more urgent prefills leave of chunk_size."""

    def __init__(self, config: FixedChunkReplicaSchedulerConfig, prioritizer: Prioritizer) -> None:
        super().__init__(max_batch_size=config.max_batch_size, max_tokens=config.chunk_size)

    def next_chunk(self, seq: Sequence, batch: Batch, now: float) -> int | None:
        """The rest of the budget."""
        return self.max_tokens - batch.num_tokens

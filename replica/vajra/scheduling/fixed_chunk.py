"""The fixed chunk scheduler: at most chunk_size query tokens per batch, decodes included."""

from __future__ import annotations

from vajra.config import FixedChunkReplicaSchedulerConfig
from vajra.scheduling.batch import Batch
from vajra.scheduling.blocks import BlockManager
from vajra.scheduling.prioritizer import Prioritizer
from vajra.scheduling.scheduler import ReplicaScheduler, schedulers
from vajra.scheduling.sequence import Sequence


@schedulers.register(FixedChunkReplicaSchedulerConfig)
class FixedChunkScheduler(ReplicaScheduler):
    """A prefill gets what decodes and more urgent prefills leave of chunk_size."""

    def __init__(
        self, config: FixedChunkReplicaSchedulerConfig, blocks: BlockManager, prioritizer: Prioritizer
    ) -> None:
        super().__init__(blocks, prioritizer, max_batch_size=config.max_batch_size, max_tokens=config.chunk_size)
        self.config = config

    def reconfigure(self, config: FixedChunkReplicaSchedulerConfig) -> None:
        """Takes other bounds over; see ReplicaScheduler."""
        self.config = config
        self._bound(config.max_batch_size, config.chunk_size)

    def next_chunk(self, seq: Sequence, batch: Batch) -> int:
        """The rest of the prompt, cut to the rest of the budget."""
        return min(seq.prefill_end - seq.processed, self.config.chunk_size - batch.num_tokens)

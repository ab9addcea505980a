"""DynamicChunk: batches of equal predicted time, whatever their context (Medha, arXiv 2409.17264v5, algorithm 2)."""

from __future__ import annotations

from vajra.config import DynamicChunkReplicaSchedulerConfig
from vajra.scheduling.batch import Batch
from vajra.scheduling.policy import ChunkPolicy, policies
from vajra.scheduling.prioritizer import Prioritizer
from vajra.scheduling.sequence import Sequence

GRANULARITY = 32  # tokens: chunks are multiples of it, but for a prompt's last
PATIENCE = 8  # batches without a prefill: the next has one whatever it costs, or decodes could keep it out for ever


@policies.register(DynamicChunkReplicaSchedulerConfig)
class DynamicChunk(ChunkPolicy):
    """A prefill gets as many tokens as keep the batch's predicted time within the target."""

    def __init__(self, config: DynamicChunkReplicaSchedulerConfig, prioritizer: Prioritizer) -> None:
        super().__init__(max_batch_size=config.max_batch_size, max_tokens=config.max_chunk_size_param)
        self.min_chunk = config.min_chunk_size_param
        self.target = config.target_batch_time_param
        self._refused = 0  # batches in a row in which no prefill had room

    def next_chunk(self, seq: Sequence, batch: Batch, now: float) -> int | None:
        """The longest chunk within the target, or the shortest there is when prefills have waited long enough."""
        return self.patient(seq, batch, self.longest_chunk(seq, batch, self.target))

    def patient(self, seq: Sequence, batch: Batch, chunk: int) -> int:
        """`chunk`, but not 0 for too many batches in a row that have no prefill at all."""
        if chunk == 0 and not batch.chunks and self._refused >= PATIENCE:
            chunk = min(self.min_chunk, seq.remaining_prefill, max(0, self.max_tokens - batch.num_tokens))
        self._refused = 0 if chunk or batch.chunks else self._refused + 1
        return chunk

    def longest_chunk(self, seq: Sequence, batch: Batch, seconds: float) -> int:
        """The largest n of {the rest of the prompt, multiples of 32, min_chunk}, at least min_chunk, with a predicted
        time of the batch of at most `seconds`. An empty batch takes min_chunk whatever it costs."""
        rest, room = seq.remaining_prefill, self.max_tokens - batch.num_tokens

        def fits(n: int) -> bool:
            return batch.seconds_with(seq, n) <= seconds

        if rest <= room and fits(rest):
            return rest
        low, high = 0, min(rest - 1, room) // GRANULARITY  # predictions never fall with n: bisect
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle * GRANULARITY) else (low, middle - 1)
        chunk = low * GRANULARITY
        if chunk >= self.min_chunk:
            return chunk
        least = min(self.min_chunk, rest)
        if least <= room and (batch.num_tokens == 0 or fits(least)):
            return least
        return 0

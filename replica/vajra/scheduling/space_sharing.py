"""SpaceSharing: dynamic chunks, and a long prefill leaves time of each batch to short ones (Medha, section 4.3)."""

from __future__ import annotations

from vajra.config import SpaceSharingReplicaSchedulerConfig
from vajra.scheduling.batch import Batch
from vajra.scheduling.dynamic_chunk import DynamicChunk
from vajra.scheduling.policy import policies
from vajra.scheduling.prioritizer import LrsPrioritizer, Prioritizer, PrioritizerWrapper
from vajra.scheduling.sequence import Sequence

MAX_SHARE = 0.5  # of the target that a long prefill leaves at most


@policies.register(SpaceSharingReplicaSchedulerConfig)
class SpaceSharing(DynamicChunk):
    """At most one long prefill per batch. It leaves as much of the target as it has slack; a short one takes all that
    is left. Attention of the one and matrix products of the others then share the batch."""

    def __init__(self, config: SpaceSharingReplicaSchedulerConfig, prioritizer: Prioritizer) -> None:
        """Raises TypeError for a prioritizer without slack."""
        super().__init__(config, prioritizer)
        while isinstance(prioritizer, PrioritizerWrapper):
            prioritizer = prioritizer.inner
        if not isinstance(prioritizer, LrsPrioritizer):
            raise TypeError(f"SpaceSharing reads a request's slack from LRS; {type(prioritizer).__name__} has none")
        self.prioritizer = prioritizer
        self.threshold = config.long_seq_kv_cache_len_threshold

    def next_chunk(self, seq: Sequence, batch: Batch, now: float) -> int | None:
        """A long prefill's share of the target, or the longest chunk within all of it."""
        if seq.processed < self.threshold:
            return super().next_chunk(seq, batch, now)
        if any(chunk.context >= self.threshold for chunk in batch.chunks):
            return None
        share = min(max(self.prioritizer.key(seq, now), 0.0), MAX_SHARE)
        if share == 0.0:
            return super().next_chunk(seq, batch, now)
        return self.longest_chunk(seq, batch, self.target * (1.0 - share)) or None  # it has slack: short ones go on

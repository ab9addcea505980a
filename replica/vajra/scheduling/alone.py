"""The chunks of a prompt that has a replica to itself: what its predicted prefill time is the sum of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vajra.config import (
    DynamicChunkReplicaSchedulerConfig,
    FcfsRequestPrioritizerConfig,
    FixedChunkReplicaSchedulerConfig,
)
from vajra.scheduling.batch import Batch
from vajra.scheduling.dynamic_chunk import DynamicChunk
from vajra.scheduling.fixed_chunk import FixedChunk
from vajra.scheduling.policy import ChunkPolicy
from vajra.scheduling.predictor import Predictor
from vajra.scheduling.prioritizer import FcfsPrioritizer
from vajra.scheduling.sequence import Sequence


def chunk_alone(config: Any, predictor: Predictor, max_tokens: int) -> Callable[[int], int]:
    """The rule that says how many tokens a prompt of `max_tokens` gets behind a given number of processed ones.

    A long request alone leaves nothing to others, so SpaceSharing's chunks are DynamicChunk's."""
    fcfs = FcfsPrioritizer(FcfsRequestPrioritizerConfig())
    policy: ChunkPolicy
    if isinstance(config, DynamicChunkReplicaSchedulerConfig):
        policy = DynamicChunk(config, fcfs)
    elif isinstance(config, FixedChunkReplicaSchedulerConfig):
        policy = FixedChunk(config, fcfs)
    else:
        raise TypeError(f"no chunks are known for {type(config).__name__}")
    prompt = Sequence(0, max_tokens, max_tokens, 1, arrival=0.0)

    def chunk(processed: int) -> int:
        prompt.processed = processed
        tokens = policy.next_chunk(prompt, Batch(0, predictor.batch()), 0.0)
        assert tokens, "a policy gives an empty batch something"
        return min(tokens, prompt.remaining_prefill)

    return chunk

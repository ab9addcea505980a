"""Scheduling policy, pure: no I/O, no clock (time is a parameter), no engine. The same code runs in simulation."""

from vajra.scheduling.ahead import AheadCounts
from vajra.scheduling.alone import chunk_alone
from vajra.scheduling.batch import Batch, Chunk, Room
from vajra.scheduling.blocks import BlockManager, IntegrityError, OutOfBlocks
from vajra.scheduling.dynamic_chunk import DynamicChunk
from vajra.scheduling.fairness import FairPrioritizer, VirtualTokenCounters
from vajra.scheduling.fixed_chunk import FixedChunk
from vajra.scheduling.ordering import ordering, ordering_of
from vajra.scheduling.policy import ChunkPolicy, policies
from vajra.scheduling.predictor import BatchTime, Predictor, PrefillTimes
from vajra.scheduling.prioritizer import (
    EdfPrioritizer,
    FcfsPrioritizer,
    LrsPrioritizer,
    Prioritizable,
    Prioritizer,
    prioritizers,
)
from vajra.scheduling.relegation import RelegatingPrioritizer
from vajra.scheduling.replica_set import QueuedRequest, QueueFull, ReplicaSetQueue, RoomReport
from vajra.scheduling.scheduler import ReplicaScheduler
from vajra.scheduling.sequence import BatchItem, Blocked, Ledger, Sequence, SequenceState
from vajra.scheduling.space_sharing import SpaceSharing

__all__ = [
    "AheadCounts",
    "Batch",
    "BatchItem",
    "BatchTime",
    "BlockManager",
    "Blocked",
    "Chunk",
    "ChunkPolicy",
    "DynamicChunk",
    "EdfPrioritizer",
    "FairPrioritizer",
    "FcfsPrioritizer",
    "FixedChunk",
    "IntegrityError",
    "Ledger",
    "LrsPrioritizer",
    "OutOfBlocks",
    "Predictor",
    "PrefillTimes",
    "Prioritizable",
    "Prioritizer",
    "QueueFull",
    "QueuedRequest",
    "RelegatingPrioritizer",
    "ReplicaScheduler",
    "ReplicaSetQueue",
    "Room",
    "RoomReport",
    "Sequence",
    "SequenceState",
    "SpaceSharing",
    "VirtualTokenCounters",
    "chunk_alone",
    "ordering",
    "ordering_of",
    "policies",
    "prioritizers",
]

"""Scheduling policy, pure: no I/O, no clock (time is a parameter), no engine. The same code runs in simulation."""

from vajra.scheduling.batch import Batch, BatchItem, Room
from vajra.scheduling.blocks import BlockManager, IntegrityError, OutOfBlocks
from vajra.scheduling.fixed_chunk import FixedChunkScheduler
from vajra.scheduling.prioritizer import FcfsPrioritizer, Prioritizable, Prioritizer, prioritizers
from vajra.scheduling.replica_set import QueuedRequest, QueueFull, ReplicaSetQueue, RoomReport
from vajra.scheduling.scheduler import ReplicaScheduler, schedulers
from vajra.scheduling.sequence import Blocked, Ledger, Sequence, SequenceState

__all__ = [
    "Batch",
    "BatchItem",
    "BlockManager",
    "Blocked",
    "FcfsPrioritizer",
    "FixedChunkScheduler",
    "IntegrityError",
    "Ledger",
    "OutOfBlocks",
    "Prioritizable",
    "Prioritizer",
    "QueueFull",
    "QueuedRequest",
    "ReplicaScheduler",
    "ReplicaSetQueue",
    "Room",
    "RoomReport",
    "Sequence",
    "SequenceState",
    "prioritizers",
    "schedulers",
]

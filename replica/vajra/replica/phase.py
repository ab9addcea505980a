"""Where a replica is in its life."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """RECOVERING serves on once the worker is back; FAILED is final."""

    STARTING = 1
    SERVING = 2
    DRAINING = 3
    FAILED = 4
    RECOVERING = 5

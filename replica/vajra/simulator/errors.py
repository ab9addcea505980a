"""What a user of the simulator can get wrong."""

from __future__ import annotations


class SimulationError(ValueError):
    """A workload, a plan or an objective that cannot be simulated; says what is wrong, where, and what is allowed."""

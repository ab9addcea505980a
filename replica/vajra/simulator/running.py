"""One request in a simulation, from its arrival to its last token."""

from __future__ import annotations

from vajra.scheduling import QueuedRequest, Sequence
from vajra.simulator.workload import Request


class Running:
    """What becomes of a request. Times are seconds of the simulation's clock."""

    __slots__ = (
        "dispatched",
        "executed",
        "first_token",
        "last_token",
        "produced",
        "queued",
        "ready",
        "replica",
        "request",
        "seq_id",
        "sequence",
    )

    def __init__(self, seq_id: int, request: Request, queued: QueuedRequest) -> None:
        self.seq_id = seq_id
        self.request = request
        self.queued = queued
        self.sequence: Sequence | None = None  # from its dispatch on
        self.replica = -1
        self.dispatched = 0.0
        self.produced = 0  # tokens
        self.first_token = 0.0
        self.last_token = 0.0
        self.executed = 0.0  # seconds of the steps that it took part in
        self.ready = 0.0  # when its last step planned so far leaves the last pipeline stage

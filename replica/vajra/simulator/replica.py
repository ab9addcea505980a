"""One simulated replica: the real scheduler, and a device that takes the predicted time for each step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from vajra.scheduling import Batch, PrefillTimes, Prioritizer, ReplicaScheduler, RoomReport
from vajra.simulator.running import Running


@dataclass(slots=True)
class Step:
    """A batch on its way through the stages."""

    batch: Batch
    sampled: list[int]  # ids of the sequences that it yields a token for
    sampling: list[Running]  # these
    partial: list[Running]  # those whose prompts go on
    planned: float
    start: float  # it enters the first stage
    end: float  # it leaves the last


class SimulatedReplica:
    """At most `stages` steps run and `ahead` are queued behind them, as in the replica controller's step loop. A step
    takes its predicted time, an equal part of it in each stage, and `step_seconds` more before the first."""

    def __init__(
        self,
        index: int,
        scheduler: ReplicaScheduler,
        prioritizer: Prioritizer,
        times: PrefillTimes | None = None,
        *,
        stages: int = 1,
        ahead: int = 1,
        step_seconds: float = 0.0,
    ) -> None:
        """The scheduler has a predictor, which times its batches, and `prioritizer`. `times` go into ledgers."""
        self.index = index
        self.scheduler = scheduler
        self.prioritizer = prioritizer
        self._times = times
        self.in_flight: deque[Step] = deque()
        self.busy = 0.0  # seconds in which a stage computed, over the number of stages
        self.block_seconds = 0.0  # KV blocks in use, over time
        self._most = stages + ahead
        self._step_seconds = step_seconds
        self._stage_free = [0.0] * stages  # when each has done all that is planned
        self._accepted = 0
        self.told = RoomReport(0, 0, scheduler.blocks.block_size, 0)  # what the gateway has heard of the room
        self._blocks_used = 0
        self._blocks_since = 0.0

    def add(self, running: Running) -> None:
        """A sequence comes in from the gateway."""
        assert running.sequence is not None
        if self._times is not None:
            running.sequence.ledger.predicted_prefill = self._times.prefill_time(running.request.prompt_tokens)
        self.scheduler.add(running.sequence)
        self._accepted += 1

    def plan(self, now: float, running: dict[int, Running]) -> list[Step]:
        """Plans as many steps as may be in flight; returns the new ones."""
        new: list[Step] = []
        while len(self.in_flight) < self._most:
            batch = self.scheduler.schedule(now)
            if not batch:
                break
            step = self._start(batch, now, running)
            self.in_flight.append(step)
            new.append(step)
        used = self.scheduler.blocks.used
        if used != self._blocks_used:
            self.block_seconds += self._blocks_used * (now - self._blocks_since)
            self._blocks_used, self._blocks_since = used, now
        return new

    def room_if_changed(self) -> RoomReport | None:
        """The room as the gateway hears of it: None when it is as before."""
        slots, blocks = self.scheduler.room()
        report = RoomReport(slots, blocks, self.scheduler.blocks.block_size, self._accepted)
        if report == self.told:
            return None
        self.told = report
        return report

    def _start(self, batch: Batch, now: float, running: dict[int, Running]) -> Step:
        sampled = [item.seq_id for item in batch.items[: batch.num_decodes]]
        partial: list[Running] = []
        for chunk in batch.chunks:
            if chunk.samples:
                sampled.append(chunk.seq_id)
            else:
                partial.append(running[chunk.seq_id])
        sampling = [running[seq_id] for seq_id in sampled]
        free = self._stage_free
        seconds = batch.seconds
        start = max(now, free[0]) + self._step_seconds
        if len(free) == 1:
            end = free[0] = start + seconds
        else:
            # A sequence's next token needs its last one, which leaves the last stage only.
            for member in (*sampling, *partial):
                start = max(start, member.ready)
            end, part = start, seconds / len(free)
            for stage, when in enumerate(free):
                end = free[stage] = max(end, when) + part
            for member in (*sampling, *partial):
                member.ready = end
        self.busy += seconds
        return Step(batch, sampled, sampling, partial, now, start, end)

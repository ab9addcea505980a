"""Relegation: who cannot meet the deadline any more lets the others meet theirs (QoServe, arXiv 2503.22562, 4.3)."""

from __future__ import annotations

from typing import Any

from vajra.scheduling.predictor import PrefillTimes
from vajra.scheduling.prioritizer import Prioritizable, Prioritizer, PrioritizerWrapper

SPARE = 0.1  # of the time from arrival to deadline, for the others in its batches


class RelegatingPrioritizer(PrioritizerWrapper):
    """Under overload EDF and LRS serve the latest request first and so make the next one late too. Here a request that
    would miss its deadline if it ran alone from now on, or have less than a tenth of its time to spare, comes after all
    that would not; among themselves the relegated keep the order of the other prioritizer. One without a deadline is
    never relegated.

    The spare time matters: in overload the next one is always one that can just be in time alone, and it is not alone.
    Without it each would be begun, be late by a little, and have been for nothing.
    """

    def __init__(self, inner: Prioritizer, times: PrefillTimes) -> None:
        super().__init__(inner)
        self._times = times

    def key(self, request: Prioritizable, now: float) -> Any:
        """(whether it is too late, inner key)."""
        return self.is_late(request, now), self.inner.key(request, now)

    def is_late(self, request: Prioritizable, now: float) -> bool:
        """Whether the first token can hardly be in time any more."""
        deadline, rest = self.inner.deadline(request), request.remaining_prefill
        if deadline is None or not rest:
            return False
        in_time = deadline - SPARE * (deadline - request.arrival)
        return now + self._times.remaining(request.processed + rest, request.processed) > in_time

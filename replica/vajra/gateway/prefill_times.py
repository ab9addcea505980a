"""How long prompts take in the replica set: what its replicas say, for the order of the one queue before them."""

from __future__ import annotations

from vajra.prediction import PrefillTable


class SetPrefillTimes:
    """A vajra.scheduling.predictor.PrefillTimes. Replicas of one set have one model and one scheduler, so any one's
    table will do; how much slower than it they run now is averaged. Before the first replica reports, no prompt takes
    any time: then nothing can be dispatched either."""

    def __init__(self) -> None:
        self._table: PrefillTable | None = None
        self._scales: dict[str, float] = {}
        self._scale = 1.0

    def update(self, replica: str, table: PrefillTable | None, scale: float) -> None:
        """What a replica says; no table when its prioritizer does without."""
        if table is None:
            return
        self._table = table
        self._scales[replica] = scale or 1.0
        self._average()

    def remove(self, replica: str) -> None:
        """A replica is gone; its table stays, should it have been the last."""
        if self._scales.pop(replica, None) is not None and self._scales:
            self._average()

    def prefill_time(self, num_tokens: int) -> float:
        """Seconds of a whole prompt."""
        return self._scale * self._table.prefill_time(num_tokens) if self._table is not None else 0.0

    def remaining(self, num_tokens: int, processed: int) -> float:
        """Seconds of a prompt's tokens from `processed` on."""
        return self._scale * self._table.remaining(num_tokens, processed) if self._table is not None else 0.0

    def _average(self) -> None:
        self._scale = sum(self._scales.values()) / len(self._scales)

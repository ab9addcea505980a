"""A quantity over time in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence


class Series:
    """Rows of values at about equal times. When there are too many, every other one goes and the interval doubles."""

    def __init__(self, columns: Sequence[str], most: int = 2048) -> None:
        self.columns = ("time", *columns)
        self.rows: list[tuple[float, ...]] = []
        self.due = 0.0  # `add` is worth calling from this time on
        self._interval = 1e-3
        self._most = most

    def add(self, now: float, values: Sequence[float]) -> None:
        """What holds at `now`, which is `due` or later."""
        self.rows.append((now, *values))
        if len(self.rows) > self._most:
            del self.rows[1::2]
            self._interval *= 2
        self.due = now + self._interval

"""Finds stop strings in a text that comes in pieces. Pure; the result does not depend on how it is cut."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Holds back what may be the beginning of a stop string, and cuts the text where one is complete."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""  # may be the beginning of a stop string

    def push(self, text: str, *, may_stop: bool = True) -> tuple[str, str | None]:
        """(text that is safe to show, the stop string that was found or None).

        The match that is complete first counts, and of several that end together the longest. A match that ends
        in text pushed with may_stop=False is text like any other.
        """
        known, text = len(self._held), self._held + text
        found = self._first_match(text, known) if may_stop else None
        if found is not None:
            start, stop = found
            self._held = ""
            return text[:start], stop
        keep = self._partial(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def flush(self) -> str:
        """What is still held back: the text ended without a stop string."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str, known: int) -> tuple[int, str] | None:
        """(start, stop string) of the match that ends first behind the first `known` characters."""
        best: tuple[int, int, str] | None = None
        for stop in self._stops:
            start = text.find(stop, max(0, known + 1 - len(stop)))
            if start >= 0 and (best is None or (start + len(stop), start) < best[:2]):
                best = (start + len(stop), start, stop)
        return None if best is None else best[1:]

    def _partial(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string without completing it."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

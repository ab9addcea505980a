"""Behind whom a request waited, in bounded memory."""

from __future__ import annotations

from typing import Final

_MOST: Final = 16  # names kept at a time


class AheadCounts:
    """Counts by name how often one request was left out for another.

    When there are too many names, that with the fewest counts joins the nameless, so whoever takes much stays.
    """

    __slots__ = ("counts", "others")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.others = 0  # of those without a name here

    def __bool__(self) -> bool:
        return bool(self.counts or self.others)

    def note(self, name: str) -> None:
        """Somebody went before; an empty name is one of the others."""
        counts = self.counts
        if not name:
            self.others += 1
        elif name in counts:
            counts[name] += 1
        else:
            if len(counts) == _MOST:
                self.others += counts.pop(min(counts, key=counts.__getitem__))
            counts[name] = 1

    def most(self, number: int) -> list[tuple[str, int]]:
        """The `number` names with most counts, then "" for all others together if there are any."""
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        others = self.others + sum(count for _, count in ordered[number:])
        return ordered[:number] + ([("", others)] if others else [])

"""What a request that waits will be told of its wait: booked once for all that wait, and settled when one leaves."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from vajra.scheduling.sequence import Blocked

_REMEMBERED: Final = 64  # bindings with their names; older ones are only counted


class _Binding(NamedTuple):
    number: int
    name: str
    tenant: str


class Since:
    """Where the book stood when a request came."""

    __slots__ = ("bindings", "rounds")

    def __init__(self, bindings: int = 0, rounds: dict[Blocked, int] | None = None) -> None:
        self.bindings = bindings
        self.rounds = rounds or {}

    def skip(self, reason: Blocked) -> None:
        """The next round of this kind does not count."""
        self.rounds[reason] = self.rounds.get(reason, 0) + 1


class WaitBook:
    """Rounds in which most of the queue was not looked at, and why; and who was bound meanwhile.

    A queue of thousands is not walked over for each that leaves it."""

    def __init__(self) -> None:
        self._rounds: dict[Blocked, int] = {}
        self._bindings = 0
        self._recent: deque[_Binding] = deque(maxlen=_REMEMBERED)

    def now(self) -> Since:
        """For a request that comes."""
        return Since(self._bindings, self._rounds.copy())

    def left_out(self, reason: Blocked) -> None:
        """Whoever was not looked at in this round was left out for `reason`."""
        self._rounds[reason] = self._rounds.get(reason, 0) + 1

    def bound(self, name: str, tenant: str) -> None:
        """A request leaves for a replica."""
        self._bindings += 1
        self._recent.append(_Binding(self._bindings, name, tenant))

    def rounds(self, since: Since) -> list[tuple[Blocked, int]]:
        """Rounds that left a request out, by reason."""
        return [(reason, count - since.rounds.get(reason, 0)) for reason, count in self._rounds.items()]

    def ahead(self, since: Since, until: Since, tenant: str) -> tuple[list[str], int]:
        """Who was bound between two points: names of the same tenant's, and how many others."""
        names = [
            binding.name
            for binding in self._recent
            if since.bindings < binding.number <= until.bindings and binding.tenant == tenant
        ]
        return names, until.bindings - since.bindings - len(names)

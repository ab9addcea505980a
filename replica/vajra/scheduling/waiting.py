"""What a request that waits will be told of its wait: booked once for all that wait, and settled when one leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

_REMEMBERED: Final = 64  # bindings with their names; older ones are only counted


class _Binding(NamedTuple):
    number: int
    name: str
    tenant: str


@dataclass(slots=True)
class Since:
    """Where the book stood when a request came."""

    full_rounds: int = 0
    bindings: int = 0


class WaitBook:
    """Rounds in which no replica had a slot left for those at the end of the queue, and who was bound meanwhile.

    A queue of thousands is not walked over for each that leaves it."""

    def __init__(self) -> None:
        self._full_rounds = 0
        self._bindings = 0
        self._recent: deque[_Binding] = deque(maxlen=_REMEMBERED)

    def now(self) -> Since:
        """For a request that comes."""
        return Since(self._full_rounds, self._bindings)

    def full(self) -> None:
        """The slots ran out: whoever was not looked at in this round was left out for it."""
        self._full_rounds += 1

    def bound(self, name: str, tenant: str) -> None:
        """A request leaves for a replica."""
        self._bindings += 1
        self._recent.append(_Binding(self._bindings, name, tenant))

    def full_rounds(self, since: Since) -> int:
        """Rounds that left a request out for want of slots."""
        return self._full_rounds - since.full_rounds

    def ahead(self, since: Since, until: Since, tenant: str) -> tuple[list[str], int]:
        """Who was bound between two points: names of the same tenant's, and how many others."""
        names = [
            binding.name
            for binding in self._recent
            if since.bindings < binding.number <= until.bindings and binding.tenant == tenant
        ]
        return names, until.bindings - since.bindings - len(names)

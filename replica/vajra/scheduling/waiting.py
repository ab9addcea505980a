"""What a request that waits will be told of its wait: booked once for all that wait, and settled when one leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from vajra.scheduling.sequence import Blocked

_REMEMBERED: Final = 64  # bindings with their names; older ones are only counted


class _Binding(NamedTuple):
    number: int
    name: str
    tenant: str


@dataclass(slots=True)
class Since:
    """Where the book stood when a request came."""

    slots: int = 0
    order: int = 0
    bindings: int = 0

    def skip(self, reason: Blocked) -> None:
        """The next round of this kind does not count."""
        if reason is Blocked.SLOTS:
            self.slots += 1
        else:
            self.order += 1


class WaitBook:
    """Rounds that nobody at the end of the queue had a part in, for want of slots or because an older request waits for
    memory, and who was bound meanwhile.

    A queue of thousands is not walked over for each that leaves it."""

    def __init__(self) -> None:
        self._slots = self._order = self._bindings = 0
        self._recent: deque[_Binding] = deque(maxlen=_REMEMBERED)

    def now(self) -> Since:
        """For a request that comes."""
        return Since(self._slots, self._order, self._bindings)

    def left_out(self, reason: Blocked) -> None:
        """Whoever was not looked at in this round was left out for SLOTS or ORDER."""
        if reason is Blocked.SLOTS:
            self._slots += 1
        else:
            self._order += 1

    def bound(self, name: str, tenant: str) -> None:
        """A request leaves for a replica."""
        self._bindings += 1
        self._recent.append(_Binding(self._bindings, name, tenant))

    def rounds(self, since: Since) -> tuple[tuple[Blocked, int], ...]:
        """Rounds that left a request out, by reason."""
        return (Blocked.SLOTS, self._slots - since.slots), (Blocked.ORDER, self._order - since.order)

    def ahead(self, since: Since, until: Since, tenant: str) -> tuple[list[str], int]:
        """Who was bound between two points: names of the same tenant's, and how many others."""
        names = [
            binding.name
            for binding in self._recent
            if since.bindings < binding.number <= until.bindings and binding.tenant == tenant
        ]
        return names, until.bindings - since.bindings - len(names)

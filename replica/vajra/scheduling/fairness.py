"""Fairness between tenants: whoever has been served least comes first (VTC, Sheng et al., OSDI'24, algorithm 2)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vajra.scheduling.prioritizer import Prioritizable, Prioritizer, PrioritizerWrapper

PREFILL_PRICE, DECODE_PRICE = 1.0, 2.0  # of a token, as in the paper's section 3.1


class VirtualTokenCounters:
    """The service that each tenant has had, in tokens by price over weight.

    Two tenants that both have requests waiting differ by a bounded amount, however many requests each sends: the one
    with the lower counter comes first. A tenant that comes back after a pause starts level with the others, for service
    that nobody asked for cannot be saved up.
    """

    def __init__(self) -> None:
        self._served: dict[str, float] = {}
        self._active: Counter[str] = Counter()
        self._last_left = 0.0

    def of(self, tenant: str) -> float:
        """A tenant's counter."""
        return self._served.get(tenant, 0.0)

    def join(self, tenant: str) -> None:
        """One more request of a tenant's waits."""
        if not self._active[tenant]:
            level = min((self.of(t) for t, count in self._active.items() if count), default=self._last_left)
            self._served[tenant] = max(self.of(tenant), level)
        self._active[tenant] += 1

    def leave(self, tenant: str) -> None:
        """One less."""
        self._active[tenant] -= 1
        if not self._active[tenant]:
            del self._active[tenant]
            self._last_left = self.of(tenant)

    def charge(self, tenant: str, *, prefill: int = 0, decode: int = 0, weight: float = 1.0) -> None:
        """Books tokens that a tenant's requests have had. Twice the weight is twice the service."""
        self._served[tenant] = self.of(tenant) + (PREFILL_PRICE * prefill + DECODE_PRICE * decode) / weight


class FairPrioritizer(PrioritizerWrapper):
    """The tenant that was served least first, and among its requests the order of another prioritizer."""

    accounts = True

    def __init__(self, inner: Prioritizer, counters: VirtualTokenCounters) -> None:
        super().__init__(inner)
        self._counters = counters

    def key(self, request: Prioritizable, now: float) -> Any:
        """(tenant's counter, inner key)."""
        return self._counters.of(request.tenant), self.inner.key(request, now)

    def joined(self, request: Prioritizable) -> None:
        """See VirtualTokenCounters.join."""
        self._counters.join(request.tenant)

    def left(self, request: Prioritizable) -> None:
        """See VirtualTokenCounters.leave."""
        self._counters.leave(request.tenant)

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:
        """See VirtualTokenCounters.charge."""
        self._counters.charge(request.tenant, prefill=prefill, decode=decode, weight=request.tenant_weight)

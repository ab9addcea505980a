"""Whether an operator leads, as its Lease tells, and when events were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vajra.operator.planning import clock

LEASE: Final = "vajra-operator"
_SLACK_SECONDS: Final = 5.0  # between the clocks of the operator and of this machine


def nobody_leads(leases: Sequence[Mapping[str, Any]] | None, now: float) -> str | None:
    """Why nobody leads; None where someone does, or where it cannot be told.

    An operator for one namespace has its Lease there, so of several one that is held is enough.
    """
    if not leases:
        return None
    said = []
    for lease in leases:
        spec, namespace = lease.get("spec", {}), lease["metadata"]["namespace"]
        holder, renewed = spec.get("holderIdentity", ""), spec.get("renewTime")
        if not holder or renewed is None:
            said.append(f"no operator holds the lease {namespace}/{LEASE}")
            continue
        silent = now - clock.seconds(renewed)
        if silent <= spec.get("leaseDurationSeconds", 15) + _SLACK_SECONDS:
            return None
        said.append(f"the operator {holder} has not renewed the lease {namespace}/{LEASE} for {int(silent)} s")
    return "; ".join(said)


def event_time(event: Mapping[str, Any]) -> float:
    """When an event was seen last, in seconds since the epoch."""
    last = (event.get("series") or {}).get("lastObservedTime")
    return clock.seconds(last or event.get("eventTime") or event["metadata"]["creationTimestamp"])

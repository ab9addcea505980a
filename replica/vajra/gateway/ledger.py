"""Where a choice's time went and why: what it knows of each replica that had it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vajra.dispatch.v1 import dispatch_pb2

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Ahead:
    """A request for which another one waited; `request_id` is empty for all others together."""

    request_id: str
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A wait in the gateway's queue and the time on the replica that ended it; as inference.v1's Stay."""

    queue_seconds: float = 0.0
    queue_blocked: dict[str, int] = field(default_factory=dict)
    queue_ahead: tuple[Ahead, ...] = ()
    wait_seconds: float = 0.0
    prefill_seconds: float = 0.0
    blocked: dict[str, int] = field(default_factory=dict)
    ahead: tuple[Ahead, ...] = ()
    chunks: tuple[int, ...] = ()
    batches: int = 0
    pauses: int = 0
    preemptions: int = 0
    worker_losses: int = 0
    discarded: int = 0
    predicted_prefill_seconds: float | None = None
    slack_seconds_at_first_token: float | None = None
    partial: bool = True

    def told(self, finish: dispatch_pb2.RunFinish, *, partial: bool) -> Stay:
        """With what the replica says of its part: so far, or as its last word."""
        ledger = finish.ledger
        predicted, slack = ledger.predicted_prefill_seconds, ledger.slack_seconds_at_first_token
        return replace(
            self,
            wait_seconds=finish.queue_seconds,
            prefill_seconds=finish.prefill_seconds,
            blocked=dict(ledger.blocked),
            ahead=ahead_of((ahead.sequence_id, ahead.batches) for ahead in ledger.ahead),
            chunks=tuple(ledger.chunks),
            batches=ledger.batches,
            pauses=ledger.pauses,
            preemptions=finish.preemptions,
            worker_losses=finish.failovers,
            discarded=ledger.discarded,
            predicted_prefill_seconds=predicted if ledger.HasField("predicted_prefill_seconds") else None,
            slack_seconds_at_first_token=slack if ledger.HasField("slack_seconds_at_first_token") else None,
            partial=partial,
        )


def ahead_of(counts: Iterable[tuple[str, int]]) -> tuple[Ahead, ...]:
    """Sequences (REQUEST/CHOICE, and behind a dot the attempt) as their requests; "" stands for others."""
    requests: Counter[str] = Counter()
    for sequence_id, count in counts:
        requests[sequence_id.rpartition("/")[0]] += count
    named = sorted(requests, key=lambda name: (not name, -requests[name]))
    return tuple(Ahead(name, requests[name]) for name in named)

"""A ledger in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vajra.client.results import Ahead, Stay


def explain(ledger: Sequence[Stay]) -> str:
    """One line for each replica that had the choice: how long it waited, behind whom and why, and what came then."""
    return "\n".join(
        f"{'' if number == 1 else f'went to replica {number}, '}{'; '.join(_parts(stay))}"
        for number, stay in enumerate(ledger, 1)
    )


def _parts(stay: Stay) -> Iterator[str]:
    queue = f"waited {_seconds(stay.queue_seconds)} in the queue{_behind(stay.queue_ahead)}{_why(stay.queue_blocked)}"
    if not (stay.chunks or stay.wait_seconds or stay.blocked):
        yield queue
    else:
        yield f"{queue}, then {_seconds(stay.wait_seconds)} for its first batch"
        if stay.blocked:
            left_out = f"{_count(sum(stay.blocked.values()), 'batch', 'batches')} went without it"
            yield left_out + _behind(stay.ahead) + _why(stay.blocked)
        chunks = _count(len(stay.chunks), "chunk", "chunks")
        expected = stay.predicted_prefill_seconds
        predicted = "" if expected is None else f", {_seconds(expected)} predicted"
        tokens = _count(sum(stay.chunks), "token", "tokens")
        yield f"prefill of {tokens} took {_seconds(stay.prefill_seconds)} in {chunks}{predicted}"
    slack = stay.slack_seconds_at_first_token
    if slack is not None:
        yield f"first token {_seconds(abs(slack))} {'late' if slack < 0 else 'in time'}"
    if stay.pauses:
        yield f"sat out batches {_count(stay.pauses, 'time', 'times')} after it had begun"
    if stay.preemptions:
        yield f"computed again {_count(stay.preemptions, 'time', 'times')} for want of memory"
    if stay.worker_losses:
        yield f"lost {_count(stay.worker_losses, 'worker', 'workers')}"
    if stay.partial:
        yield "the replica had no last word"


def _behind(ahead: Sequence[Ahead]) -> str:
    """Whom it waited for, and how often each was served."""
    names = [f"{each.request_id or 'others'} ({each.times})" for each in ahead]
    if not names:
        return ""
    return f" behind {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"


def _why(blocked: Mapping[str, int]) -> str:
    """The reasons, most frequent first."""
    reasons = sorted(blocked, key=lambda reason: -blocked[reason])
    return f" for want of {' and '.join(_REASONS.get(reason, reason) for reason in reasons)}" if reasons else ""


_REASONS = {
    "slots": "a place",
    "order": "memory that a request before it waits for",
    "budget": "room in a batch",
    "isolation": "a worker that another request had to itself",
}


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"

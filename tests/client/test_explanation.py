"""A ledger in words says all that a person would ask."""

from __future__ import annotations

from vajra.client import Ahead, Stay
from vajra.client.explanation import explain


def test_every_wait_is_told_with_its_reason() -> None:
    lost = Stay(queue_seconds=0.25, queue_blocked={"slots": 2, "memory": 3}, queue_ahead=(Ahead("a", 1), Ahead("", 2)))
    last = Stay(
        queue_seconds=1.25,
        wait_seconds=0.5,
        prefill_seconds=2.0,
        blocked={"budget": 6},
        ahead=(Ahead("a", 3), Ahead("b", 2), Ahead("", 1)),
        chunks=(64, 36),
        pauses=2,
        preemptions=1,
        worker_losses=2,
        predicted_prefill_seconds=1.5,
        slack_seconds_at_first_token=-0.5,
        partial=False,
    )
    assert explain((lost, last)) == (
        "waited 250 ms in the queue behind a (1) and others (2) for want of memory and a place; "
        "the replica had no last word\n"
        "went to replica 2, waited 1.2 s in the queue, then 500 ms for its first batch; "
        "6 batches went without it behind a (3), b (2) and others (1) for want of room in a batch; "
        "prefill of 100 tokens took 2.0 s in 2 chunks, 1.5 s predicted; first token 500 ms late; "
        "sat out batches 2 times after it had begun; computed again 1 time for want of memory; lost 2 workers"
    )


def test_an_undisturbed_answer_is_one_short_line() -> None:
    stay = Stay(chunks=(8,), prefill_seconds=0.01, wait_seconds=0.001, queue_seconds=0.002, partial=False)
    assert explain((stay,)) == (
        "waited 2 ms in the queue, then 1 ms for its first batch; prefill of 8 tokens took 10 ms in 1 chunk"
    )

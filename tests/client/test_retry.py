"""When a request is tried again: pure, on a clock of the test's own."""

from __future__ import annotations

import pytest

from vajra.client import InvalidRequestError, OverloadedError, RetryPolicy, UnavailableError, VajraError
from vajra.client.retry import Attempts

POLICY = RetryPolicy(max_retries=3, first_delay=1.0, max_delay=3.0)
LOST = UnavailableError("lost")


def test_waits_double_up_to_the_longest_and_tries_end() -> None:
    attempts = Attempts(POLICY, None, now=0.0)
    assert [attempts.after(LOST, now=0.0) for _ in range(3)] == [1.0, 2.0, 3.0]
    with pytest.raises(UnavailableError, match="lost"):
        attempts.after(LOST, now=0.0)


def test_no_wait_goes_beyond_the_deadline() -> None:
    attempts = Attempts(POLICY, 10.0, now=100.0)
    assert (attempts.remaining(104.0), attempts.remaining(111.0)) == (6.0, 0.0)
    assert attempts.after(LOST, now=108.5) == 1.0
    with pytest.raises(UnavailableError):
        attempts.after(LOST, now=108.5)
    assert Attempts(POLICY, None, now=0.0).remaining(1e9) is None


@pytest.mark.parametrize("error", [InvalidRequestError("no"), OverloadedError("full")])
def test_what_will_not_go_away_is_not_tried_again(error: VajraError) -> None:
    with pytest.raises(type(error)):
        Attempts(POLICY, None, now=0.0).after(error, now=0.0)


def test_a_server_that_says_when_is_heard_and_what_has_begun_is_not_repeated() -> None:
    attempts = Attempts(POLICY, None, now=0.0)
    assert attempts.after(OverloadedError("full", 7.0), now=0.0) == 7.0
    attempts.started = True
    with pytest.raises(UnavailableError):
        attempts.after(LOST, now=0.0)

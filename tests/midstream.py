"""For tests that act in the middle of a stream."""

from __future__ import annotations

ENDLESS = 8000  # tokens: some seconds of work, for what no test waits for


class TooLate(Exception):
    """What a test meant to disturb was over before it did. A busy machine lets a test hear of a stream's first tokens
    when its last ones are made; the same thing again is then no other result but another try, and pytest makes up to
    four of them of this alone (pyproject.toml)."""


def hit(count: int) -> None:
    """Raises TooLate unless the disturbance was noticed `count` > 0 times."""
    if not count:
        raise TooLate("it was over before it was disturbed")

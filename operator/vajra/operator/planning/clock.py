"""Times as the API server writes them, RFC 3339 with whole seconds, and as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as text."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """The inverse of `rfc3339`. Raises ValueError for what is no time."""
    return datetime.fromisoformat(text).timestamp()

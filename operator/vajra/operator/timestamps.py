"""Times as the API server takes them."""

from __future__ import annotations

import datetime


def micro_time() -> str:
    """Now, as a metav1.MicroTime."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

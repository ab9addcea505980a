"""Bounds of one Run stream's buffer; without imports, for the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """A reader that leaves more than this unread is cut off."""

    max_unread_bytes: int = 1 << 20
    max_unread_seconds: float = 60.0

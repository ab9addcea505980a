"""The one exception of this room."""

from __future__ import annotations


class ModelError(Exception):
    """A model that cannot be found, read or served. The message says what, where, and what to do next."""

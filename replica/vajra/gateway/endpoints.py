"""What a caller of `serve` hears: progress, then where the server is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]  # stage, done, total (0: unknown)


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where a server can be reached."""

    model: str
    http: str  # a URL without a path
    grpc: str  # host:port
    notices: tuple[str, ...]  # lines that a user should know

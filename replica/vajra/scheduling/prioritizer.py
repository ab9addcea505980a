"""Which request comes first. A key is computed, never stored: it may depend on time and on progress."""

from __future__ import annotations

from typing import Protocol

from vajra.config import FcfsRequestPrioritizerConfig
from vajra.scheduling.registry import Registry


class Prioritizable(Protocol):
    """What a prioritizer may look at: a `Sequence` in a replica, a `QueuedRequest` in the gateway."""

    @property
    def arrival(self) -> float:
        """When the request reached the gateway, on the caller's clock."""

    @property
    def num_prompt_tokens(self) -> int:
        """Length of the original prompt."""

    @property
    def remaining_prefill(self) -> int:
        """Prefill tokens not yet planned."""

    @property
    def ttft_target(self) -> float | None:
        """When the first token is due, if the request says so."""


class Prioritizer(Protocol):
    """Orders requests: the smallest key first, ties by arrival."""

    def key(self, request: Prioritizable, now: float) -> float:
        """The request's key at `now`."""


prioritizers: Registry[Prioritizer] = Registry("prioritizer")


@prioritizers.register(FcfsRequestPrioritizerConfig)
class FcfsPrioritizer:
    """First come, first served: by arrival at the gateway, so a resumed request keeps its place."""

    def __init__(self, config: FcfsRequestPrioritizerConfig) -> None:
        self.config = config

    def key(self, request: Prioritizable, now: float) -> float:
        """The arrival itself."""
        return request.arrival

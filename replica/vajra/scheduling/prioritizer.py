"""Which request comes first. A key is computed, never stored: it may depend on time and on progress."""

from __future__ import annotations

from typing import Any, Protocol

from vajra.config import (
    EdfRequestPrioritizerConfig,
    FcfsRequestPrioritizerConfig,
    LrsRequestPrioritizerConfig,
)
from vajra.scheduling.predictor import PrefillTimes
from vajra.scheduling.registry import Registry

_LEAST_INTERVAL = 1e-3  # seconds: a deadline at the arrival itself would divide by zero


class Prioritizable(Protocol):
    """What a prioritizer may look at: a `Sequence` in a replica, a `QueuedRequest` in the gateway."""

    @property
    def arrival(self) -> float:
        """When the request reached the gateway, on the caller's clock."""

    @property
    def tenant(self) -> str:
        """Whose it is; empty where nobody is told apart."""

    @property
    def tenant_weight(self) -> float:
        """The tenant's share beside others, above 0."""

    @property
    def num_prompt_tokens(self) -> int:
        """Length of the original prompt."""

    @property
    def processed(self) -> int:
        """Tokens whose prefill is planned or done."""

    @property
    def remaining_prefill(self) -> int:
        """Prefill tokens not yet planned."""

    @property
    def ttft_target(self) -> float | None:
        """When the first token is due, if the request says so."""


class Prioritizer(Protocol):
    """Orders requests: the smallest key first."""

    accounts: bool  # whether it wants to hear of requests that come, are served and go

    def key(self, request: Prioritizable, now: float) -> Any:
        """The request's key at `now`: something to be compared with this prioritizer's other keys."""

    def deadline(self, request: Prioritizable) -> float | None:
        """When its first token is due; None where it has no deadline."""

    def joined(self, request: Prioritizable) -> None:
        """A request is here to be ordered."""

    def left(self, request: Prioritizable) -> None:
        """It is not any more."""

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:
        """It gets so many tokens."""


class Unaccounting:
    """What a prioritizer does that only looks at requests."""

    accounts = False

    def joined(self, request: Prioritizable) -> None:
        """Nothing."""

    def left(self, request: Prioritizable) -> None:
        """Nothing."""

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:
        """Nothing."""


class PrioritizerWrapper(Unaccounting):
    """Something that counts before another prioritizer's key does."""

    def __init__(self, inner: Prioritizer) -> None:
        self.inner = inner
        self.accounts = self.accounts or inner.accounts

    def deadline(self, request: Prioritizable) -> float | None:
        """The inner one's."""
        return self.inner.deadline(request)

    def joined(self, request: Prioritizable) -> None:
        """For the inner one."""
        self.inner.joined(request)

    def left(self, request: Prioritizable) -> None:
        """For the inner one."""
        self.inner.left(request)

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:
        """For the inner one."""
        self.inner.served(request, prefill=prefill, decode=decode)


prioritizers: Registry[Prioritizer] = Registry("prioritizer")


@prioritizers.register(FcfsRequestPrioritizerConfig)
class FcfsPrioritizer(Unaccounting):
    """First come, first served: by arrival at the gateway, so a resumed request keeps its place."""

    def __init__(self, config: FcfsRequestPrioritizerConfig, times: PrefillTimes | None = None) -> None:
        pass

    def key(self, request: Prioritizable, now: float) -> float:
        """The arrival itself."""
        return request.arrival

    def deadline(self, request: Prioritizable) -> float | None:
        """The request's own, which nobody looks at here."""
        return request.ttft_target


class _DeadlinePrioritizer(Unaccounting):
    """Requests are due an interval after their arrival: what the client said, else in proportion to their work."""

    def __init__(
        self, config: EdfRequestPrioritizerConfig | LrsRequestPrioritizerConfig, times: PrefillTimes | None
    ) -> None:
        """Raises TypeError without `times`."""
        if times is None:
            raise TypeError(f"{type(self).__name__} needs predicted prefill times")
        self._multiplier, self._least = config.deadline_multiplier, config.min_deadline
        self.times = times

    def interval(self, request: Prioritizable) -> float:
        """Seconds from arrival to deadline: the client's, or max(multiplier x predicted prefill time, min_deadline)."""
        if request.ttft_target is not None:
            return max(request.ttft_target - request.arrival, _LEAST_INTERVAL)
        work = self.times.prefill_time(request.num_prompt_tokens)
        return max(self._multiplier * work, self._least, _LEAST_INTERVAL)

    def deadline(self, request: Prioritizable) -> float | None:
        """Arrival and interval."""
        return request.arrival + self.interval(request)


@prioritizers.register(EdfRequestPrioritizerConfig)
class EdfPrioritizer(_DeadlinePrioritizer):
    """Earliest deadline first."""

    def __init__(self, config: EdfRequestPrioritizerConfig, times: PrefillTimes | None = None) -> None:
        super().__init__(config, times)

    def key(self, request: Prioritizable, now: float) -> float:
        """The deadline."""
        return request.arrival + self.interval(request)


@prioritizers.register(LrsRequestPrioritizerConfig)
class LrsPrioritizer(_DeadlinePrioritizer):
    """Least remaining slack: the time to spare until the deadline, as a part of the whole interval (after Medha,
    section 4.1, which divides by the predicted work). A long request's falls slowly, so it yields to short ones; it
    falls all the same, so it is not starved as long as there is time for all."""

    def __init__(self, config: LrsRequestPrioritizerConfig, times: PrefillTimes | None = None) -> None:
        super().__init__(config, times)

    def key(self, request: Prioritizable, now: float) -> float:
        """1 or less; below 0 the deadline cannot be met any more."""
        interval = self.interval(request)
        done = request.processed
        rest = request.remaining_prefill
        work = self.times.remaining(done + rest, done) if rest else 0.0
        return (request.arrival + interval - now - work) / interval

"""Which request comes first. A key is computed, never stored: it may depend on time and on progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
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

    def keys(self, requests: Iterable[Prioritizable], now: float) -> list[Any]:
        """The keys of many."""

    def deadline(self, request: Prioritizable) -> float | None:
        """When its first token is due; None where it has no deadline."""

    def joined(self, request: Prioritizable) -> None:
        """A request is here to be ordered."""

    def left(self, request: Prioritizable) -> None:
        """It is not any more."""

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:
        """It gets so many tokens."""


class BasePrioritizer(ABC):
    """A prioritizer that looks at one request at a time, and keeps no account."""

    accounts = False

    @abstractmethod
    def key(self, request: Prioritizable, now: float) -> Any:
        """See Prioritizer."""

    def keys(self, requests: Iterable[Prioritizable], now: float) -> list[Any]:
        """One by one."""
        key = self.key
        return [key(request, now) for request in requests]

    def joined(self, request: Prioritizable) -> None:  # noqa: B027 - a default
        """Nothing."""

    def left(self, request: Prioritizable) -> None:  # noqa: B027 - a default
        """Nothing."""

    def served(self, request: Prioritizable, *, prefill: int = 0, decode: int = 0) -> None:  # noqa: B027 - a default
        """Nothing."""


class PrioritizerWrapper(BasePrioritizer):
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
class FcfsPrioritizer(BasePrioritizer):
    """First come, first served: by arrival at the gateway, so a resumed request keeps its place."""

    def __init__(self, config: FcfsRequestPrioritizerConfig, times: PrefillTimes | None = None) -> None:
        pass

    def key(self, request: Prioritizable, now: float) -> float:
        """The arrival itself."""
        return request.arrival

    def deadline(self, request: Prioritizable) -> float | None:
        """The request's own, which nobody looks at here."""
        return request.ttft_target


class _DeadlinePrioritizer(BasePrioritizer):
    """Requests are due an interval after their arrival: what the client said, else in proportion to their work."""

    def __init__(
        self, config: EdfRequestPrioritizerConfig | LrsRequestPrioritizerConfig, times: PrefillTimes | None
    ) -> None:
        """Raises TypeError without `times`."""
        if times is None:
            raise TypeError(f"{type(self).__name__} needs predicted prefill times")
        self._multiplier, self._least = config.deadline_multiplier, max(config.min_deadline, _LEAST_INTERVAL)
        self.times = times

    def interval(self, request: Prioritizable) -> float:
        """Seconds from arrival to deadline: the client's, or max(multiplier x predicted prefill time, min_deadline)."""
        target = request.ttft_target
        if target is None:
            return max(self._multiplier * self.times.prefill_time(request.num_prompt_tokens), self._least)
        return max(target - request.arrival, _LEAST_INTERVAL)

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
        return self.keys((request,), now)[0]

    def keys(self, requests: Iterable[Prioritizable], now: float) -> list[float]:
        """In one loop, for a gateway's queue may be long, and all of it changes with time."""
        prefill_time, multiplier, least = self.times.prefill_time, self._multiplier, self._least
        keys: list[float] = []
        for request in requests:
            done, rest = request.processed, request.remaining_prefill
            if done or rest != request.num_prompt_tokens:
                work = self.times.remaining(done + rest, done) if rest else 0.0
                interval = self.interval(request)
            else:
                work = prefill_time(rest)
                if request.ttft_target is not None:
                    interval = self.interval(request)
                elif (interval := multiplier * work) < least:
                    interval = least
            keys.append((request.arrival + interval - now - work) / interval)
        return keys

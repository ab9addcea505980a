"""gRPC failures as typed errors, and when to try again. Pure: time comes in as a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from vajra.client.errors import (
    AuthenticationError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RequestCancelledError,
    ServerFaultError,
    UnavailableError,
    UnknownModelError,
    VajraError,
)

_ERRORS: dict[grpc.StatusCode, type[VajraError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.ALREADY_EXISTS: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: RequestCancelledError,
}


def to_error(error: grpc.RpcError) -> VajraError:
    """The typed error of a failed call, made of its status and trailing metadata."""
    code: grpc.StatusCode = error.code()
    kind = _ERRORS.get(code, ServerFaultError)
    message = error.details() or code.name.lower().replace("_", " ")
    typed = (
        OverloadedError(message, _retry_after(error.trailing_metadata() or ()))
        if kind is OverloadedError
        else kind(message)
    )
    typed.__cause__ = error
    return typed


def _retry_after(metadata: Iterable[Any]) -> float | None:
    """The delay of google.rpc.RetryInfo in seconds, if the status carries one."""
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


@dataclass(frozen=True)
class RetryPolicy:
    """Only requests of which nothing has come back yet are tried again, and never past their deadline."""

    max_retries: int = 4
    first_delay: float = 0.1  # seconds, doubled each time up to max_delay
    max_delay: float = 5.0

    def delay(self, error: VajraError, *, attempt: int, started: bool, remaining: float | None) -> float | None:
        """Seconds to wait before the next attempt, or None to give up.

        Args:
            attempt: how many attempts have failed, this one included.
            started: whether a delta has arrived already.
            remaining: seconds until the deadline, None without one.
        """
        if started or attempt > self.max_retries:
            return None
        match error:
            case UnavailableError():
                wait = min(self.first_delay * 2 ** (attempt - 1), self.max_delay)
            case OverloadedError(retry_after=advice) if advice is not None:
                wait = advice
            case _:
                return None
        return None if remaining is not None and wait >= remaining else wait


class Attempts:
    """One request's tries and the end of its time. `timeout` is in seconds, None for no end; `now` on one clock."""

    def __init__(self, policy: RetryPolicy, timeout: float | None, *, now: float) -> None:
        self._policy = policy
        self._deadline = None if timeout is None else now + timeout
        self._failed = 0
        self.started = False  # an answer has begun to arrive

    def remaining(self, now: float) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - now)

    def after(self, error: VajraError, *, now: float) -> float:
        """Seconds to wait after a failure before the next try; raises `error` when there is none."""
        self._failed += 1
        wait = self._policy.delay(error, attempt=self._failed, started=self.started, remaining=self.remaining(now))
        if wait is None:
            raise error
        return wait

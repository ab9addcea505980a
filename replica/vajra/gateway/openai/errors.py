"""Errors as OpenAI's clients expect them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vajra.gateway.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    DuplicateRequest,
    InvalidRequest,
    Overloaded,
    RequestError,
    Unavailable,
    UnknownModel,
    sendable,
)


@dataclass(frozen=True)
class HttpError:
    """A status and the body's `error`; what its message quotes is cut."""

    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    retry_after: float | None = None  # seconds

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": sendable(self.message), "type": self.type, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After is in whole seconds, and 0 would be no advice."""
        return {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


INTERNAL_ERROR = HttpError(500, "server_error", "internal_error", "internal error; the server's log has the details")


def to_http(error: RequestError) -> HttpError:
    """The HTTP form of a request's error."""
    text = str(error)
    match error:
        case InvalidRequest(field=field):
            return HttpError(400, "invalid_request_error", "invalid_value", text, field)
        case UnknownModel():
            return HttpError(404, "invalid_request_error", "model_not_found", text, "model")
        case DuplicateRequest():
            return HttpError(409, "invalid_request_error", "duplicate_request", text)
        case Overloaded(retry_after=seconds):
            return HttpError(429, "rate_limit_error", "queue_full", text, retry_after=seconds)
        case ClientTooSlow():
            return HttpError(408, "invalid_request_error", "client_too_slow", text)
        case Unavailable(retry_after=seconds):
            return HttpError(503, "server_error", "unavailable", text, retry_after=seconds)
        case DeadlineExceeded():
            return HttpError(504, "server_error", "deadline_exceeded", text)
        case _:
            return HttpError(500, "server_error", "internal_error", text)

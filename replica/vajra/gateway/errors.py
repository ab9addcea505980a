"""What can go wrong with a request or with serving. Faces turn these into gRPC statuses and HTTP codes."""

from __future__ import annotations

_MAX_BYTES = 600  # of a message: it may quote what a client sent, and gRPC's metadata has room for few kilobytes
_TAIL_BYTES = 200


class GatewayError(Exception):
    """A fault with a message for people."""


class StartupError(GatewayError):
    """Serving cannot start: a port in use, a replica that fails before it serves, a setting not implemented."""


class RequestError(GatewayError):
    """A request failed; the others go on. The message is cut to what every face can send, and is valid UTF-8."""

    def __init__(self, message: str) -> None:
        super().__init__(sendable(message))


class InvalidRequest(RequestError):
    """The request can never succeed as it is. `field` is the path of what is wrong, such as "sampling.top_p"."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = None if field is None else sendable(field)


class UnknownModel(RequestError):
    """The model asked for is not served here."""


class DuplicateRequest(RequestError):
    """The request id is in flight already."""


class Overloaded(RequestError):
    """The queue is full. `retry_after` is advice in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(RequestError):
    """Starting, draining, or out of replicas. `retry_after` is advice in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(RequestError):
    """The request's deadline passed; it has been freed."""


class ClientTooSlow(RequestError):
    """The client left more unread than the bound allows; the request has been freed."""


class InternalError(RequestError):
    """A fault of the server's own."""


def sendable(text: str) -> str:
    """The text as valid UTF-8, its middle left out where it is too long for an answer."""
    data = text.encode("utf-8", "backslashreplace")  # half a surrogate pair has no UTF-8
    if len(data) <= _MAX_BYTES:
        return data.decode()
    head, tail = data[: _MAX_BYTES - _TAIL_BYTES], data[-_TAIL_BYTES:]
    return f"{head.decode('utf-8', 'ignore')} … {tail.decode('utf-8', 'ignore')}"

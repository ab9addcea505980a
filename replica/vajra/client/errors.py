"""Errors of the clients. Each carries a message for people; `VajraError` catches all of them."""

from __future__ import annotations


class VajraError(Exception):
    """A request failed."""


class InvalidRequestError(VajraError):
    """The request can never succeed as it is: a value out of range, a prompt too long."""


class UnknownModelError(VajraError):
    """The model asked for is not the one served."""


class AuthenticationError(VajraError):
    """The API key is missing or wrong."""


class OverloadedError(VajraError):
    """The server's queue is full. `retry_after` is its advice in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(VajraError):
    """The server cannot be reached, is starting, drains or lost a replica for good."""


class DeadlineExceededError(VajraError):
    """The timeout passed; the server has freed the request."""


class RequestCancelledError(VajraError):
    """The request was cancelled on the way."""


class ServerFaultError(VajraError):
    """A fault of the server's own."""

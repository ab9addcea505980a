"""What one Run stream has still to send: deltas that merge, so that a slow reader never stalls the engine."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import grpc

from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2
from vajra.replica.limits import StreamLimits

_TOKEN_BYTES = 5
_ALTERNATIVE_BYTES = 12


class StreamError(Exception):
    """Ends a Run stream with a status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotTaken(StreamError):
    """Refuses a sequence of which nothing has run: the sender may give it to another replica at once."""

    def __init__(self, message: str) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, message)


@dataclass(slots=True)
class _Delta:
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[inference_pb2.TokenLogprob] = field(default_factory=list)
    size: int = 0
    since: float | None = None  # when its oldest token came


class TokenStream:
    """A merging buffer between the step loop, which never waits, and one reader, which may be slow.

    Beyond its limits `push` fails the stream with RESOURCE_EXHAUSTED.
    """

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._delta = _Delta()
        self._so_far: dispatch_pb2.RunFinish | None = None
        self._finish: dispatch_pb2.RunFinish | None = None
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self.failed: asyncio.Future[StreamError] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        """Whether nothing more will be pushed."""
        return self._finish is not None or self.failed.done()

    def push(self, token_id: int, logprob: inference_pb2.TokenLogprob | None, now: float) -> bool:
        """Adds a token. False when the reader has been too slow: the stream has failed, the sequence should go."""
        delta = self._delta
        delta.token_ids.append(token_id)
        delta.size += _TOKEN_BYTES
        if logprob is not None:
            delta.logprobs.append(logprob)
            delta.size += _ALTERNATIVE_BYTES * (1 + len(logprob.alternatives))
        if delta.since is None:
            delta.since = now
        if delta.size > self._limits.max_unread_bytes or now - delta.since > self._limits.max_unread_seconds:
            message = (
                f"the reader is too slow: {len(delta.token_ids)} tokens have been waiting for "
                f"{now - delta.since:.1f} s; read the stream, or ask for fewer tokens or alternatives"
            )
            self.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            return False
        self._wake.set()
        return True

    def tell(self, so_far: dispatch_pb2.RunFinish) -> None:
        """Sends with the next token what has become of the sequence so far."""
        self._so_far = so_far

    def finish(self, finish: dispatch_pb2.RunFinish) -> None:
        """The last word; tokens pushed before still go out."""
        self._finish = finish
        self._closed.set()
        self._wake.set()

    def fail(self, code: grpc.StatusCode, message: str) -> None:
        """Ends the stream with a status; unread tokens are lost."""
        if not self.failed.done():
            self.failed.set_result(StreamError(code, message))
        self._closed.set()
        self._wake.set()

    async def gather(self, seconds: float) -> None:
        """Lets tokens gather for so long, or until the stream is closed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def take(self) -> dispatch_pb2.RunResponse:
        """Waits for news and takes all of it; the last response has `finish`. Raises StreamError."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.failed.done():
                raise self.failed.result()
            if self._delta.token_ids or self._finish is not None:
                break
        delta, self._delta = self._delta, _Delta()
        so_far, self._so_far = self._so_far, None
        return dispatch_pb2.RunResponse(
            token_ids=delta.token_ids, logprobs=delta.logprobs, finish=self._finish, so_far=so_far
        )

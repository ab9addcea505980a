"""gRPC clients of vajra.inference.v1, blocking and asyncio: deadlines, retries, streaming."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import grpc
import grpc.aio

from vajra.client.errors import VajraError
from vajra.client.params import Prompt, SamplingParams, check_timeout
from vajra.client.results import Accumulator, Delta, GenerationResult, ModelInfo
from vajra.client.retry import Attempts, RetryPolicy, to_error
from vajra.client.wire import to_delta, to_model, to_request
from vajra.inference.v1 import inference_pb2 as pb
from vajra.inference.v1 import inference_pb2_grpc as pb_grpc

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),  # the server says what is too long, with a reason
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
DEFAULT_TIMEOUT = 600.0
T = TypeVar("T")


class _Connection:
    """What both clients are made of: a channel, and what goes with every request."""

    _library: ClassVar[Any]  # grpc or grpc.aio

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        check_timeout(timeout)
        self._metadata = [("authorization", f"Bearer {api_key}")] if api_key else []
        self._timeout = timeout
        self._policy = retry or RetryPolicy()
        if credentials is None:
            self._channel: Any = self._library.insecure_channel(target, _OPTIONS)
        else:
            self._channel = self._library.secure_channel(target, credentials, _OPTIONS)
        self._stub: Any = pb_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._closed = threading.Event()

    def _attempts(self, timeout: float | None) -> Attempts:
        check_timeout(timeout)
        return Attempts(self._policy, self._timeout if timeout is None else timeout, now=time.monotonic())

    def _call(self, method: Callable[..., Any], request: Any, attempts: Attempts) -> Any:
        """Starts one attempt."""
        if self._closed.is_set():
            raise VajraError("this client is closed")
        return method(request, timeout=attempts.remaining(time.monotonic()), metadata=self._metadata)


class VajraClient(_Connection):
    """Blocking client; safe to share between threads. A context manager.

    Args:
        target: the gRPC address, such as "127.0.0.1:8471".
        api_key: sent as a bearer token.
        timeout: seconds that a request may take in all, retries included, unless the call says otherwise.
        retry: when to try again; `RetryPolicy(max_retries=0)` never does.
        credentials: for TLS; plaintext without.

    Every method raises the errors of `vajra.client.errors`.
    """

    _library: ClassVar[Any] = grpc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancels what is in flight and closes the channel."""
        self._closed.set()
        self._channel.close()

    def stream(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,
        request_id: str = "",
        model: str = "",
    ) -> Iterator[Delta]:
        """Deltas as they arrive, of all choices. Closing the iterator early cancels the request."""
        request = to_request(prompt, sampling, request_id=request_id, model=model)
        return self._answers(self._stub.Generate, request, self._attempts(timeout), partial(map, to_delta))

    def generate(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,
        request_id: str = "",
        model: str = "",
    ) -> GenerationResult:
        """The whole answer to one prompt."""
        deltas = self.stream(prompt, sampling, timeout=timeout, request_id=request_id, model=model)
        return Accumulator(prompt).add_all(deltas)

    def get_model(self, *, timeout: float | None = None) -> ModelInfo:
        """The served model."""
        attempts = self._attempts(timeout)
        (model,) = self._answers(
            self._stub.GetModel.future, pb.GetModelRequest(), attempts, lambda call: [to_model(call.result())]
        )
        return model

    def _answers(
        self, method: Callable[..., Any], request: Any, attempts: Attempts, read: Callable[[Any], Iterable[T]]
    ) -> Iterator[T]:
        """What `read` takes from a call, which is made again while nothing has come and `attempts` allows it."""
        while True:
            call = self._call(method, request, attempts)
            try:
                for answer in read(call):
                    attempts.started = True
                    yield answer
                return
            except grpc.RpcError as error:
                wait = attempts.after(to_error(error), now=time.monotonic())
            finally:
                call.cancel()
            self._closed.wait(wait)


class AsyncVajraClient(_Connection):
    """asyncio client; arguments and errors as in `VajraClient`. An async context manager; made inside a loop."""

    _library: ClassVar[Any] = grpc.aio

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels what is in flight and closes the channel."""
        self._closed.set()
        await self._channel.close(None)

    def stream(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,
        request_id: str = "",
        model: str = "",
    ) -> AsyncGenerator[Delta, None]:
        """Deltas as they arrive, of all choices. Closing the iterator or cancelling its task cancels the request."""
        request = to_request(prompt, sampling, request_id=request_id, model=model)
        return self._answers(self._stub.Generate, request, self._attempts(timeout), _deltas)

    async def generate(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 (it travels to the server)
        request_id: str = "",
        model: str = "",
    ) -> GenerationResult:
        """The whole answer to one prompt."""
        accumulator = Accumulator(prompt)
        async for delta in self.stream(prompt, sampling, timeout=timeout, request_id=request_id, model=model):
            accumulator.add(delta)
        return accumulator.result()

    async def get_model(self, *, timeout: float | None = None) -> ModelInfo:  # noqa: ASYNC109
        """The served model."""
        attempts = self._attempts(timeout)
        (model,) = [m async for m in self._answers(self._stub.GetModel, pb.GetModelRequest(), attempts, _model)]
        return model

    async def _answers(
        self,
        method: Callable[..., Any],
        request: Any,
        attempts: Attempts,
        read: Callable[[Any], AsyncGenerator[T, None]],
    ) -> AsyncGenerator[T, None]:
        """As `VajraClient._answers`."""
        while True:
            call = self._call(method, request, attempts)
            try:
                async with aclosing(read(call)) as answers:
                    async for answer in answers:
                        attempts.started = True
                        yield answer
                return
            except grpc.RpcError as error:
                wait = attempts.after(to_error(error), now=time.monotonic())
            finally:
                call.cancel()
            await asyncio.sleep(wait)


async def _deltas(call: Any) -> AsyncGenerator[Delta, None]:
    async for response in call:
        yield to_delta(response)


async def _model(call: Any) -> AsyncGenerator[ModelInfo, None]:
    yield to_model(await call)

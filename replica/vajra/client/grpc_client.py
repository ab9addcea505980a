"""gRPC clients of vajra.inference.v1, blocking and asyncio: deadlines, retries, streaming."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from vajra.client.params import Prompt, SamplingParams
from vajra.client.results import Accumulator, Delta, GenerationResult, ModelInfo
from vajra.client.retry import RetryPolicy, to_error
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


class _Attempts:
    """One request's deadline and tries; shared by both clients."""

    def __init__(self, policy: RetryPolicy, timeout: float | None) -> None:
        self._policy = policy
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._failed = 0
        self.started = False  # a delta has arrived

    def remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def after(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next try; raises the typed error when there is none."""
        typed = to_error(error.code(), error.details(), error.trailing_metadata())
        self._failed += 1
        wait = self._policy.delay(typed, attempt=self._failed, started=self.started, remaining=self.remaining())
        if wait is None:
            raise typed from error
        return wait


class _Settings:
    def __init__(
        self,
        target: str,
        api_key: str | None,
        timeout: float | None,
        retry: RetryPolicy | None,
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        self._target = target
        self._metadata = [("authorization", f"Bearer {api_key}")] if api_key else []
        self._timeout = timeout
        self._policy = retry or RetryPolicy()
        self._credentials = credentials

    def _attempts(self, timeout: float | None) -> _Attempts:
        return _Attempts(self._policy, self._timeout if timeout is None else timeout)


class VajraClient(_Settings):
    """Blocking client; safe to share between threads. A context manager.

    Args:
        target: the gRPC address, such as "127.0.0.1:8471".
        api_key: sent as a bearer token.
        timeout: seconds that a request may take in all, retries included, unless the call says otherwise.
        retry: when to try again; `RetryPolicy(max_retries=0)` never does.
        credentials: for TLS; plaintext without.

    Every method raises the errors of `vajra.client.errors`.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        super().__init__(target, api_key, timeout, retry, credentials)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, _OPTIONS)
        self._stub: Any = pb_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._closed = threading.Event()

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
        request = to_request(prompt, sampling or SamplingParams(), request_id=request_id, model=model)
        return self._stream(request, self._attempts(timeout))

    def _stream(self, request: pb.GenerateRequest, attempts: _Attempts) -> Iterator[Delta]:
        while True:
            call = self._stub.Generate(request, timeout=attempts.remaining(), metadata=self._metadata)
            try:
                for response in call:
                    attempts.started = True
                    yield to_delta(response)
                return
            except grpc.RpcError as error:
                self._closed.wait(attempts.after(error))
            finally:
                call.cancel()

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
        while True:
            try:
                response = self._stub.GetModel(
                    pb.GetModelRequest(), timeout=attempts.remaining(), metadata=self._metadata
                )
                return to_model(response)
            except grpc.RpcError as error:
                self._closed.wait(attempts.after(error))


class AsyncVajraClient(_Settings):
    """asyncio client; arguments and errors as in `VajraClient`. An async context manager; made inside a loop."""

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        super().__init__(target, api_key, timeout, retry, credentials)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, _OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, _OPTIONS)
        self._stub: Any = pb_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels what is in flight and closes the channel."""
        await self._channel.close(None)

    async def stream(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 (it travels to the server)
        request_id: str = "",
        model: str = "",
    ) -> AsyncIterator[Delta]:
        """Deltas as they arrive, of all choices. Closing the iterator or cancelling its task cancels the request."""
        request = to_request(prompt, sampling or SamplingParams(), request_id=request_id, model=model)
        attempts = self._attempts(timeout)
        while True:
            call = self._stub.Generate(request, timeout=attempts.remaining(), metadata=self._metadata)
            try:
                async for response in call:
                    attempts.started = True
                    yield to_delta(response)
                return
            except grpc.RpcError as error:
                wait = attempts.after(error)
            finally:
                call.cancel()
            await asyncio.sleep(wait)

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
        while True:
            try:
                response = await self._stub.GetModel(
                    pb.GetModelRequest(), timeout=attempts.remaining(), metadata=self._metadata
                )
                return to_model(response)
            except grpc.RpcError as error:
                wait = attempts.after(error)
            await asyncio.sleep(wait)

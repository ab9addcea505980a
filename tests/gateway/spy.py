"""A replica that computes nothing: it remembers what a gateway asks of it, and says what a test wants to hear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import grpc

from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.inference.v1 import inference_pb2


class SpyReplica(dispatch_pb2_grpc.DispatchServiceServicer):
    """`async with SpyReplica(address) as spy`: takes one sequence at a time, while `go` is set, and ends it with one
    token and the next of `finishes`; without any it ended by its length."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[dispatch_pb2.RunRequest] = []
        self.finishes: list[dispatch_pb2.RunFinish] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __aenter__(self) -> SpyReplica:
        self._server = grpc.aio.server()
        dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(self.address)
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def Run(
        self, request: dispatch_pb2.RunRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[dispatch_pb2.RunResponse]:
        self.requests.append(request)
        await self.go.wait()
        ended = dispatch_pb2.RunFinish(reason=inference_pb2.FINISH_REASON_LENGTH)
        yield dispatch_pb2.RunResponse(token_ids=[65], finish=self.finishes.pop(0) if self.finishes else ended)

    async def WatchRoom(
        self, request: dispatch_pb2.WatchRoomRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[dispatch_pb2.WatchRoomResponse]:
        yield dispatch_pb2.WatchRoomResponse(
            free_slots=1, free_blocks=1000, block_size=16, accepting=True, fingerprint="spy"
        )
        await asyncio.Event().wait()

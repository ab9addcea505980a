"""A control.v1 server on a loopback address of its own, where pods would have theirs."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Any

import grpc

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.operator.planning.names import CONTROL_PORT


class ControlServer(control_pb2_grpc.ReplicaControlServiceServicer):
    """`async with ControlServer() as server`: answers with `status` and keeps what it was asked."""

    def __init__(self) -> None:
        self.address = ".".join(map(str, (127, *(random.randint(1, 254) for _ in range(3)))))
        self.status = control_pb2.GetStatusResponse(phase=control_pb2.REPLICA_PHASE_SERVING)
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.update = control_pb2.UpdateConfigRequest()
        self.drain = control_pb2.DrainRequest()

    async def __aenter__(self) -> ControlServer:
        self._server = grpc.aio.server()
        control_pb2_grpc.add_ReplicaControlServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(f"{self.address}:{CONTROL_PORT}")
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def GetStatus(self, request: control_pb2.GetStatusRequest, context: Any) -> control_pb2.GetStatusResponse:
        self.asked += 1
        self.was_asked.set()
        return self.status

    async def UpdateConfig(
        self, request: control_pb2.UpdateConfigRequest, context: Any
    ) -> control_pb2.UpdateConfigResponse:
        if request.generation < self.status.generation:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "older than what is in force")
        self.update = request
        self.status.generation = request.generation
        return control_pb2.UpdateConfigResponse(generation=request.generation)

    async def Drain(self, request: control_pb2.DrainRequest, context: Any) -> control_pb2.DrainResponse:
        self.drain = request
        self.status.phase = control_pb2.REPLICA_PHASE_DRAINING
        return control_pb2.DrainResponse()

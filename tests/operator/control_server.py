"""A control.v1 server on a loopback address of its own, as a pod would have one."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.operator.planning.names import CONTROL_PORT


class ControlServer(control_pb2_grpc.ReplicaControlServiceServicer):
    """Answers with `status` from `start` to `stop`, and keeps the last update and drain that it was sent."""

    def __init__(self) -> None:
        self.address = ".".join(map(str, (127, *(random.randint(1, 254) for _ in range(3)))))
        self.status = control_pb2.GetStatusResponse(phase=control_pb2.REPLICA_PHASE_SERVING)
        self.update = control_pb2.UpdateConfigRequest()
        self.drain = control_pb2.DrainRequest()
        self.asked = 0
        self._was_asked = threading.Condition()

    def start(self) -> None:
        """Listens."""
        self._server = grpc.server(ThreadPoolExecutor(1))
        control_pb2_grpc.add_ReplicaControlServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(f"{self.address}:{CONTROL_PORT}")
        self._server.start()

    def stop(self) -> None:
        """Breaks all connections."""
        self._server.stop(None).wait()

    def wait_until_asked(self, times: int) -> None:
        """Returns when its status has been asked for so often from now."""
        with self._was_asked:
            until = self.asked + times
            assert self._was_asked.wait_for(lambda: self.asked >= until, 60), "it was not asked"

    def GetStatus(
        self, request: control_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> control_pb2.GetStatusResponse:
        with self._was_asked:
            self.asked += 1
            self._was_asked.notify_all()
        return self.status

    def UpdateConfig(
        self, request: control_pb2.UpdateConfigRequest, context: grpc.ServicerContext
    ) -> control_pb2.UpdateConfigResponse:
        if request.generation < self.status.generation:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "older than what is in force")
        self.update = request
        self.status.generation = request.generation
        return control_pb2.UpdateConfigResponse(generation=request.generation)

    def Drain(self, request: control_pb2.DrainRequest, context: grpc.ServicerContext) -> control_pb2.DrainResponse:
        self.drain = request
        self.status.phase = control_pb2.REPLICA_PHASE_DRAINING
        return control_pb2.DrainResponse()

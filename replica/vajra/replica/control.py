"""control.v1 on a controller: status, live settings, drain."""

from __future__ import annotations

import time
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from vajra.config import ConfigError, UpdateRefused
from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.replica.controller import LLMBaseReplicaController
from vajra.replica.phase import Phase

_PHASES = {
    Phase.STARTING: control_pb2.REPLICA_PHASE_STARTING,
    Phase.RECOVERING: control_pb2.REPLICA_PHASE_STARTING,
    Phase.SERVING: control_pb2.REPLICA_PHASE_SERVING,
    Phase.DRAINING: control_pb2.REPLICA_PHASE_DRAINING,
    Phase.FAILED: control_pb2.REPLICA_PHASE_FAILED,
}


class ReplicaControlService(control_pb2_grpc.ReplicaControlServiceServicer):
    """What the operator and the gateway ask of this replica."""

    def __init__(self, controller: LLMBaseReplicaController) -> None:
        self._controller = controller
        self._settings = controller.settings

    async def GetStatus(
        self, request: control_pb2.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.GetStatusResponse:
        """One snapshot."""
        controller, supervisor, now = self._controller, self._controller.supervisor, time.monotonic()
        age = Duration()
        age.FromNanoseconds(int((now - supervisor.heartbeat) * 1e9))
        worker = control_pb2.WorkerStatus(
            rank=0,
            steps=supervisor.steps,
            pending=supervisor.pending,
            heartbeat_age=age,
            pid=supervisor.pid,
            restarts=supervisor.restarts,
            message=supervisor.message,
        )
        response = control_pb2.GetStatusResponse(
            phase=_PHASES[controller.phase],
            revision=self._settings.revision,
            generation=self._settings.generation,
            workers=[worker],
            stages=[
                control_pb2.StartupStage(name=s.name, seconds=s.seconds(now), progress=s.progress)
                for s in supervisor.stages
            ],
            running=controller.num_running,
            waiting=controller.num_waiting,
            kv_blocks_used=controller.blocks_used,
            message=controller.message or (supervisor.message if controller.model is None else ""),
            notices=controller.notices,
            config_refused=controller.refuses,
        )
        model = controller.model
        if model is not None:
            response.notices.extend(model.notices)
            response.fingerprint = model.fingerprint
            response.capacity.CopyFrom(
                control_pb2.Capacity(
                    kv_blocks=model.num_blocks,
                    block_size=model.block_size,
                    max_batch_size=controller.deployment.replica_config.scheduler_config.max_batch_size,
                    max_model_len=model.max_model_len,
                )
            )
        return response

    async def UpdateConfig(
        self, request: control_pb2.UpdateConfigRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.UpdateConfigResponse:
        """Takes live fields over as one transaction; names what needs a restart and changes nothing then."""
        try:
            self._settings.update(
                request.generation, request.spec_json, self._controller.prepare, validate_only=request.validate_only
            )
        except ConfigError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UpdateRefused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return control_pb2.UpdateConfigResponse(generation=self._settings.generation)

    async def Drain(
        self, request: control_pb2.DrainRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.DrainResponse:
        """Stops admission; after the grace, unfinished sequences are aborted."""
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else None
        return control_pb2.DrainResponse(in_flight=self._controller.drain(grace))

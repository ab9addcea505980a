"""control.v1 on a controller: status, live settings, drain."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from vajra.config import ConfigError, VajraDeployment, changed_fields, updatable_paths
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
        self._spec = _spec(controller.deployment)
        self._revision = revision(self._spec)
        self._generation = 0

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
            revision=self._revision,
            generation=self._generation,
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
        """Applies live fields as one transaction; names the fields that need a restart and changes nothing then."""
        if request.generation < self._generation:
            message = f"generation {request.generation} is older than {self._generation}, which is in force"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
        manifest = self._controller.deployment.to_dict()
        try:
            spec = json.loads(request.spec_json)
            deployment = VajraDeployment.from_dict(manifest | {"spec": spec})
        except (ValueError, ConfigError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"spec_json: {error}")
        changes = changed_fields(self._controller.deployment.spec, deployment.spec)
        refused = [change.path for change in changes if not change.updatable]
        if refused:
            message = (
                f"these fields cannot change while the replica runs: {', '.join(refused)}; "
                f"live are: {', '.join(updatable_paths())}. Restart the replica with the new settings."
            )
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
        self._controller.deployment = deployment
        self._controller.supervisor.recovery = deployment.spec.recovery
        self._spec = _spec(deployment)
        self._revision = revision(self._spec)
        self._generation = request.generation
        return control_pb2.UpdateConfigResponse(generation=self._generation)

    async def Drain(
        self, request: control_pb2.DrainRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.DrainResponse:
        """Stops admission; after the grace, unfinished sequences are aborted."""
        grace = request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else None
        return control_pb2.DrainResponse(in_flight=self._controller.drain(grace))


def revision(spec: dict[str, Any]) -> str:
    """A short hash of a spec: equal settings, equal revision."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def _spec(deployment: VajraDeployment) -> dict[str, Any]:
    spec = deployment.to_dict()["spec"]
    assert isinstance(spec, dict)
    return spec

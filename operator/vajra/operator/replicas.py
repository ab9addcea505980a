"""control.v1 of the pods: what their processes say of themselves, live settings, draining."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.operator.model import Report, Stage
from vajra.operator.planning.names import CONTROL_PORT
from vajra.operator.queue import RetryError

_CALL_SECONDS = 5.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # pods are never behind the proxy that the environment may name
    ("grpc.use_local_subchannel_pool", 1),  # a connection ends with its channel
)
_PHASES = {
    control_pb2.REPLICA_PHASE_STARTING: "Starting",
    control_pb2.REPLICA_PHASE_SERVING: "Serving",
    control_pb2.REPLICA_PHASE_DRAINING: "Draining",
    control_pb2.REPLICA_PHASE_FAILED: "Failed",
}


class ControlError(RetryError):
    """A pod's process did not do what it was asked."""

    def __init__(self, call: str, pod: str, error: grpc.aio.AioRpcError) -> None:
        super().__init__(f"{call} of pod {pod}: {error.code().name}: {error.details()}")


async def get_status(address: str, seconds: float) -> Report | None:
    """What the process at a pod's IP says of itself; None when it does not answer in time."""
    try:
        async with _connect(address) as channel:
            return _report(await _stub(channel).GetStatus(control_pb2.GetStatusRequest(), timeout=seconds))
    except grpc.aio.AioRpcError:
        return None


async def update_config(pod: str, address: str, generation: int, spec: Mapping[str, Any]) -> None:
    """Sets live fields. Raises ControlError."""
    request = control_pb2.UpdateConfigRequest(generation=generation, spec_json=json.dumps(spec))
    try:
        async with _connect(address) as channel:
            await _stub(channel).UpdateConfig(request, timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise ControlError("UpdateConfig", pod, error) from error


async def drain(pod: str, address: str, grace_seconds: int) -> None:
    """Stops admission. Raises ControlError."""
    request = control_pb2.DrainRequest(grace=Duration(seconds=grace_seconds))
    try:
        async with _connect(address) as channel:
            await _stub(channel).Drain(request, timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        raise ControlError("Drain", pod, error) from error


def _connect(address: str) -> grpc.aio.Channel:
    """A channel for one call. Kept ones would cost 40 KB for every pod, and outlive pods whose IP another one gets."""
    host = f"[{address}]" if ":" in address else address
    return grpc.aio.insecure_channel(f"{host}:{CONTROL_PORT}", _OPTIONS)


def _stub(channel: grpc.aio.Channel) -> Any:
    return control_pb2_grpc.ReplicaControlServiceStub(channel)  # type: ignore[no-untyped-call]


def _report(status: control_pb2.GetStatusResponse) -> Report:
    return Report(
        phase=_PHASES.get(status.phase, "Starting"),
        revision=status.revision,
        generation=status.generation,
        running=status.running,
        waiting=status.waiting,
        worker_restarts=sum(worker.restarts for worker in status.workers),
        kv_blocks=status.capacity.kv_blocks,
        block_size=status.capacity.block_size,
        max_batch_size=status.capacity.max_batch_size,
        stages=tuple(Stage(stage.name, stage.seconds, stage.progress) for stage in status.stages),
        message=status.message,
        notices=tuple(status.notices),
        config_refused=status.config_refused,
    )

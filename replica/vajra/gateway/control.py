"""control.v1 and health of a gateway, on a port or socket of their own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from vajra.config import ConfigError, UpdateRefused
from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.gateway.departure import Departure
from vajra.gateway.errors import StartupError
from vajra.gateway.gateway import Gateway
from vajra.gateway.live_change import Changes

_SERVICE = control_pb2.DESCRIPTOR.services_by_name["ReplicaControlService"].full_name
_OPTIONS = (("grpc.so_reuseport", 0),)  # a second server on the port is a mistake, not load balancing


class GatewayControlService(control_pb2_grpc.ReplicaControlServiceServicer):
    """What the operator, or `vajra config set`, asks of a gateway: as of a replica, without workers and capacity."""

    def __init__(self, gateway: Gateway, changes: Changes, departure: Departure | None) -> None:
        """Without a `departure` there is no Drain: whoever owns the process ends it."""
        self._gateway, self._changes, self._departure = gateway, changes, departure

    async def GetStatus(
        self, request: control_pb2.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.GetStatusResponse:
        """One snapshot."""
        gateway = self._gateway
        return control_pb2.GetStatusResponse(
            phase=self._phase(),
            revision=self._changes.settings.revision,
            generation=self._changes.settings.generation,
            running=gateway.num_running,
            waiting=gateway.num_waiting,
            message=gateway.message,
            notices=[*gateway.notices, *self._changes.notices],
            fingerprint=gateway.fingerprint,
            deployment_json=json.dumps(self._changes.settings.deployment.to_dict()),
        )

    async def UpdateConfig(
        self, request: control_pb2.UpdateConfigRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.UpdateConfigResponse:
        """Takes live fields over as one transaction; names what needs a restart and changes nothing then."""
        try:
            await self._changes.update(request.generation, request.spec_json, validate_only=request.validate_only)
        except ConfigError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UpdateRefused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return control_pb2.UpdateConfigResponse(generation=self._changes.settings.generation)

    async def Drain(
        self, request: control_pb2.DrainRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> control_pb2.DrainResponse:
        """Sends clients elsewhere; after the grace, unfinished requests are aborted."""
        if self._departure is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "end this server by SIGTERM: it drains")
        self._departure.begin(request.grace.ToNanoseconds() / 1e9 if request.HasField("grace") else None)
        return control_pb2.DrainResponse(in_flight=self._gateway.num_running + self._gateway.num_waiting)

    def _phase(self) -> control_pb2.ReplicaPhase:
        if self._gateway.leaving:
            return control_pb2.REPLICA_PHASE_DRAINING
        return control_pb2.REPLICA_PHASE_SERVING if self._gateway.proven else control_pb2.REPLICA_PHASE_STARTING


class ControlServer:
    """Serves control.v1 and grpc.health.v1 on `address`: host:port or unix:/path.

    Health of the services: "startup": the tokenizer is loaded and clients are answered. The empty name: a replica has
    served, so requests are answered, be it later; not any more once the gateway leaves. "liveness": it answers.
    """

    def __init__(self, service: GatewayControlService, gateway: Gateway, address: str) -> None:
        self.address, self.port = address, 0  # the port is known when it listens
        self._gateway = gateway
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        control_pb2_grpc.add_ReplicaControlServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens. Raises StartupError for a port in use."""
        try:
            self.port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {self.address}; choose another with --control") from error
        await self._publish()
        await self._server.start()
        self._follower = asyncio.create_task(self._follow())

    async def stop(self, *, at_once: bool) -> None:
        """Ends at once: nobody waits for an answer."""
        if self._follower is not None:
            self._follower.cancel()
        await self._server.stop(0.0)

    async def _follow(self) -> None:
        while True:
            change = self._gateway.next_change
            await self._publish()
            await change.wait()

    async def _publish(self) -> None:
        gateway = self._gateway
        for service, well in {
            "": gateway.proven and not gateway.leaving,
            "startup": gateway.ready or gateway.leaving,
            "liveness": True,
            _SERVICE: True,
        }.items():
            status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(service, status)

"""The gRPC face: inference.v1, health and reflection on one port."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vajra.gateway.errors import StartupError
from vajra.gateway.gateway import Gateway
from vajra.gateway.grpc_service import SERVICE, InferenceService
from vajra.gateway.listener import url_host

MAX_MESSAGE_BYTES = 16 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not load balancing
)


class GrpcServer:
    """Serves a gateway on `host`:`port` (0: any free one). `port` is the real one after `start`."""

    def __init__(self, gateway: Gateway, host: str, port: int, api_key: str | None) -> None:
        self.host, self.port = host, port
        self._gateway = gateway
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server.add_generic_rpc_handlers((InferenceService(gateway, api_key).handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens; health is NOT_SERVING until the gateway is well. Raises StartupError for a port in use."""
        host = url_host(self.host)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError as error:
            raise StartupError(
                f"cannot listen for gRPC on {host}:{self.port}; is the port in use? Choose another with --grpc-port"
            ) from error
        await self._publish()
        await self._server.start()
        self._follower = asyncio.create_task(self._follow())

    async def stop(self, grace: float) -> None:
        """Refuses new calls at once and cuts the others after `grace` seconds."""
        if self._follower is not None:
            self._follower.cancel()
        await self._server.stop(grace)

    async def _follow(self) -> None:
        while True:
            change = self._gateway.next_change
            await self._publish()
            await change.wait()

    async def _publish(self) -> None:
        """The server as a whole and its service: whether to send requests here."""
        well = self._gateway.healthy
        status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, status)

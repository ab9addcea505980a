"""The gRPC face: inference.v1, health and reflection on one port."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from vajra.gateway.api_keys import ApiKeys
from vajra.gateway.errors import StartupError
from vajra.gateway.gateway import Gateway
from vajra.gateway.grpc_service import SERVICE, InferenceService
from vajra.gateway.listener import url_host

MAX_MESSAGE_BYTES = 16 << 20
_LAST_WORDS_SECONDS = 2.0  # once nothing is in flight
_FOR_EVER = 1e6
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not load balancing
)


class GrpcServer:
    """Serves a gateway on `host`:`port` (0: any free one). `port` is the real one after `start`.

    After `max_age` seconds a connection's client is told to open another one for what comes next; 0: never.
    """

    def __init__(self, gateway: Gateway, host: str, port: int, keys: ApiKeys, *, max_age: float = 0.0) -> None:
        self.host, self.port = host, port
        self._gateway = gateway
        age = (("grpc.max_connection_age_ms", int(max_age * 1000)),) if max_age else ()
        self._server = grpc.aio.server(options=(*_OPTIONS, *age))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server.add_generic_rpc_handlers((InferenceService(gateway, keys).handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._follower: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

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

    def close(self) -> None:
        """Takes no connection any more and tells clients to leave; their calls go on until `stop`."""
        self._closing = asyncio.create_task(self._server.stop(_FOR_EVER))

    async def stop(self, *, at_once: bool) -> None:
        """Refuses new calls at once, and cuts the others, which have time for last words unless `at_once`."""
        if self._follower is not None:
            self._follower.cancel()
        await self._server.stop(0.0 if at_once else _LAST_WORDS_SECONDS)
        if self._closing is not None:
            await self._closing

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

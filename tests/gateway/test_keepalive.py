"""A replica bears the pings of a gateway that keeps a quiet stream to it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from vajra.gateway import replica_link
from vajra.replica import server as replica_server

PING_SECONDS = 6  # more often than a gateway does, and yet within what a replica should bear
QUIET_SECONDS = 120  # gRPC sends few pings where no data flows, and bears two that come too soon


@pytest.mark.slow
async def test_a_quiet_stream_lives_on() -> None:
    server = grpc.aio.server(options=replica_server._OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = dict(replica_link._OPTIONS) | {"grpc.keepalive_time_ms": PING_SECONDS * 1000}
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=list(options.items())) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            stream = stub.Watch(health_pb2.HealthCheckRequest())
            await stream.read()
            with pytest.raises(TimeoutError):  # nothing more is said, nor does the stream end
                await asyncio.wait_for(stream.read(), QUIET_SECONDS)
    finally:
        await server.stop(None)

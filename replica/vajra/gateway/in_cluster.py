"""A gateway as a pod: over replicas that DNS names, steered by control.v1."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from vajra.config import LiveSettings
from vajra.gateway.api_keys import ApiKeys
from vajra.gateway.control import ControlServer, GatewayControlService
from vajra.gateway.departure import Departure
from vajra.gateway.gateway import Gateway
from vajra.gateway.grpc_server import GrpcServer
from vajra.gateway.listener import url_host
from vajra.gateway.live_change import GatewayChanges
from vajra.gateway.metrics_server import MetricsServer
from vajra.gateway.openai.server import HttpServer
from vajra.gateway.remote_replicas import RemoteReplicas
from vajra.gateway.server import run


def serve_in_cluster(
    settings: LiveSettings,
    *,
    replicas: Sequence[tuple[str, int]],
    control: tuple[str, int],
    metrics: tuple[str, int] | None,
    host: str,
    grpc_port: int,
    listener: socket.socket | None,
    max_age: float,
    keys: ApiKeys,
) -> int:
    """Serves until SIGTERM or SIGINT, then leaves; a second signal is immediate. Returns the exit status.

    `listener` is for HTTP; without one there is gRPC only. `metrics` is where to be scraped. `max_age` of a client's
    gRPC connection, in seconds: then it opens another one, which may lead to another gateway. Raises ConfigError,
    ModelError or StartupError.
    """

    async def main() -> int:
        gateway = Gateway(settings.deployment, source=RemoteReplicas(replicas))
        grpc = GrpcServer(gateway, host, grpc_port, keys, max_age=max_age)
        http = HttpServer(gateway, listener, keys) if listener is not None else None
        faces = (grpc,) if http is None else (grpc, http)
        departure = Departure(gateway, faces, max_age=max_age)
        service = GatewayControlService(gateway, GatewayChanges(gateway, settings), departure)
        controls = ControlServer(service, gateway, f"{url_host(control[0])}:{control[1]}")
        scrapes = MetricsServer(gateway, *metrics) if metrics is not None else None

        def ready() -> None:
            ports = {"grpc": grpc.port, "control": controls.port}
            if listener is not None:
                ports["http"] = listener.getsockname()[1]
            if scrapes is not None:
                ports["metrics"] = scrapes.port
            print("listening on ports", ", ".join(f"{port} ({name})" for name, port in ports.items()), flush=True)

        others = (controls,) if scrapes is None else (controls, scrapes)
        return await run(gateway, (*others, *faces), leave=departure.leave, on_ready=ready)

    return asyncio.run(main())

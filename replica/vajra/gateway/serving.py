"""`serve`: the gateway with its faces, from start to drain.

The order matters for the time to the first token: the replicas' processes start first and load the model while
this process imports gRPC and aiohttp and builds the faces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vajra.gateway.endpoints import Endpoints, Progress
from vajra.gateway.replica_process import ReplicaLauncher

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from vajra.config import VajraDeployment


def serve(
    deployment: VajraDeployment,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grpc_port: int = 8471,
    api_key: str | None = None,
    api_keys_file: Path | None = None,
    progress: Progress | None = None,
    on_ready: Callable[[Endpoints], None] | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT, then drains; a second signal is immediate. Returns the exit status.

    With `api_key`, a file of keys (`vajra.gateway.api_keys`) or both, clients need one of them. Port 0 is any free one;
    `on_ready` hears the real ones. Raises ConfigError, ModelError or StartupError.
    """
    from vajra.gateway.api_keys import ApiKeys
    from vajra.gateway.support import check

    check(deployment)
    keys = ApiKeys(api_key, api_keys_file)
    listener = _listen(host, port)
    try:
        _check_free(host, grpc_port)
        launcher = ReplicaLauncher(deployment.to_dict(), deployment.replica_set_config.num_replicas)
        try:
            launcher.start_all()
            import asyncio

            from vajra.gateway.server import serve_here

            return asyncio.run(
                serve_here(
                    deployment,
                    launcher=launcher,
                    listener=listener,
                    host=host,
                    grpc_port=grpc_port,
                    keys=keys,
                    progress=progress,
                    on_ready=on_ready,
                )
            )
        finally:
            launcher.close()
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    from vajra.gateway.listener import listen

    return listen(host, port, "--port")


def _check_free(host: str, port: int) -> None:
    """gRPC binds its own socket, later: a port in use should not cost a model load to find out."""
    from vajra.gateway.listener import listen

    listen(host, port, "--grpc-port").close()

"""`python -m vajra.gateway`: one gateway of a deployment in a cluster, as a process."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import closing, nullcontext
from pathlib import Path

from vajra.config import ConfigError, LiveSettings
from vajra.config.spec.cluster import ApiKeysSection
from vajra.gateway.api_keys import FILE_VARIABLE, ApiKeys
from vajra.gateway.errors import StartupError
from vajra.gateway.in_cluster import serve_in_cluster
from vajra.gateway.listener import listen
from vajra.gateway.remote_replicas import parse_target, parse_targets
from vajra.models import ModelError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vajra.gateway", description="A gateway of a VajraDeployment.")
    parser.add_argument(
        "--config-dir",
        type=Path,
        required=True,
        help="a folder with revision-$VAJRA_REVISION.json and live.json, as the operator keeps it",
    )
    parser.add_argument(
        "--replicas",
        type=parse_targets,
        required=True,
        metavar="HOST:PORT[,…]",
        help="where replicas are: every address of every host, asked for once a second",
    )
    parser.add_argument(
        "--control", type=parse_target, required=True, metavar="HOST:PORT", help="for the operator and for probes"
    )
    parser.add_argument(
        "--metrics",
        type=parse_target,
        default=os.environ.get("VAJRA_METRICS") or None,
        metavar="HOST:PORT",
        help="where to be scraped by Prometheus; $VAJRA_METRICS, or nowhere",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address for clients")
    parser.add_argument("--port", type=int, help="HTTP; the manifest's networking.openAIPort, or none")
    parser.add_argument("--grpc-port", type=int, help="gRPC; the manifest's networking.grpcPort")
    parser.add_argument(
        "--max-connection-seconds",
        type=float,
        default=15.0,
        help="age after which a gRPC client opens another connection: clients spread over gateways, and leave one that "
        "leaves",
    )
    return parser.parse_args()


def _api_keys(secret: ApiKeysSection | None) -> ApiKeys:
    """Those of the environment. `secret` is where the operator has mounted the file from. Raises ConfigError."""
    file = os.environ.get(FILE_VARIABLE)
    called = f"Secret {secret.name}, {secret.key}" if secret is not None else ""
    return ApiKeys(os.environ.get("VAJRA_API_KEY"), Path(file) if file else None, called=called)


def main() -> int:
    """Runs one gateway until SIGTERM. The exit status; 2 for a configuration that cannot be served."""
    args = _arguments()
    logging.basicConfig(
        level=os.environ.get("VAJRA_LOG_LEVEL", "INFO").upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        settings = LiveSettings.from_folder(args.config_dir, os.environ.get("VAJRA_REVISION"))
        networking = settings.deployment.spec.networking
        port = networking.open_ai_port if args.port is None else args.port
        with nullcontext() if port is None else closing(listen(args.host, port, "--port")) as listener:
            return serve_in_cluster(
                settings,
                replicas=args.replicas,
                control=args.control,
                metrics=args.metrics,
                host=args.host,
                grpc_port=networking.grpc_port if args.grpc_port is None else args.grpc_port,
                listener=listener,
                max_age=args.max_connection_seconds,
                keys=_api_keys(networking.api_keys_secret_ref),
            )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (ModelError, StartupError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

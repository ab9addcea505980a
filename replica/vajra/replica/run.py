"""Builds a replica from its manifest and runs it; imported after the worker has started, for it takes a while."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

from vajra.config import (
    ConfigError,
    LiveSettings,
    LLMBaseReplicaControllerConfig,
    VajraDeployment,
    require_supported,
)
from vajra.replica.controller import LLMBaseReplicaController
from vajra.replica.limits import StreamLimits
from vajra.replica.server import EXIT_REFUSED, serve
from vajra.replica.worker_process import WorkerProcess
from vajra.scheduling.registry import Registry
from vajra.worker.resources import accelerators

controllers: Registry[LLMBaseReplicaController] = Registry("replica controller")


@controllers.register(LLMBaseReplicaControllerConfig)
def _base(config: LLMBaseReplicaControllerConfig, *args: Any) -> LLMBaseReplicaController:
    return LLMBaseReplicaController(*args)


def run(
    manifest: dict[str, Any],
    settings: LiveSettings | None,
    worker: WorkerProcess,
    spawn: Callable[[], WorkerProcess],
    args: argparse.Namespace,
) -> int:
    """Serves until a signal. The exit status; EXIT_REFUSED for a manifest that cannot be served.

    `settings` come from a cluster's operator and belong to `manifest`; None: the manifest is all there is.
    """

    async def main(settings: LiveSettings) -> int:
        limits = StreamLimits(args.max_unread_bytes, args.max_unread_seconds)
        controller = controllers.create(settings.deployment.replica_config, settings, worker, spawn, limits)
        return await serve(
            controller,
            args.listen,
            interactive=args.parent_fd is None,
            failed_seconds=args.failed_seconds,
            in_cluster=args.config_dir is not None,
        )

    try:
        if settings is not None:  # elsewhere the gateway, which starts replicas, has checked it
            require_supported(settings.deployment, accelerators=accelerators(), in_cluster=True)
        return asyncio.run(main(settings or LiveSettings(VajraDeployment.from_dict(manifest))))
    except (ConfigError, NotImplementedError) as error:
        print(error, file=sys.stderr)
        worker.kill()
        return EXIT_REFUSED

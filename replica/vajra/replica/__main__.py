"""`python -m vajra.replica`: one replica of a deployment, as a process.

The worker starts first: what it imports and loads overlaps with what this process imports.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vajra.replica.limits import StreamLimits
from vajra.replica.worker_process import WorkerProcess
from vajra.worker.protocol import Init

if TYPE_CHECKING:
    from vajra.config import LiveSettings


def _arguments() -> argparse.Namespace:
    limits = StreamLimits()
    parser = argparse.ArgumentParser(prog="python -m vajra.replica", description="One replica of a VajraDeployment.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--spec-file", type=Path, help="VajraDeployment as JSON")
    source.add_argument(
        "--config-dir",
        type=Path,
        help="in a cluster: a folder with revision-$VAJRA_REVISION.json and live.json, as the operator keeps it",
    )
    parser.add_argument("--listen", required=True, help="host:port or unix:/path for gRPC")
    parser.add_argument("--replica-index", type=int, default=0, help="for logs and names")
    parser.add_argument(
        "--num-local-replicas", type=int, default=1, help="replicas that share this machine's memory and cores"
    )
    parser.add_argument("--parent-fd", type=int, help="a pipe's reading end: exit when its writers are gone")
    parser.add_argument("--memory-bytes", type=int, help="memory to plan with, instead of the cgroup's or machine's")
    parser.add_argument(
        "--max-unread-bytes", type=int, default=limits.max_unread_bytes, help="cut a reader off that leaves this much"
    )
    parser.add_argument(
        "--max-unread-seconds",
        type=float,
        default=limits.max_unread_seconds,
        help="cut a reader off that takes nothing for this long",
    )
    parser.add_argument(
        "--failed-seconds", type=float, default=30.0, help="when it has failed: say so for this long, then exit"
    )
    return parser.parse_args()


def _exit_with_parent(fd: int) -> None:
    """Ends this process when the other end of the pipe closes, also when the event loop is stuck."""

    def wait() -> None:
        while os.read(fd, 4096):
            pass
        os._exit(0)  # the worker follows by its channel and by the kernel's signal

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main() -> int:
    """Runs one replica until SIGTERM, then drains, or until it has failed for good. The exit status."""
    args = _arguments()
    if args.parent_fd is not None:
        _exit_with_parent(args.parent_fd)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to handle
    logging.basicConfig(
        level=os.environ.get("VAJRA_LOG_LEVEL", "INFO").upper(),
        format=f"%(asctime)s %(levelname)s replica {args.replica_index}: %(message)s",
    )
    settings: LiveSettings | None = None
    if args.config_dir is None:
        manifest: dict[str, Any] = json.loads(args.spec_file.read_text())
    else:
        from vajra.config import ConfigError, LiveSettings

        try:
            settings = LiveSettings.from_folder(args.config_dir, os.environ.get("VAJRA_REVISION"))
        except ConfigError as error:
            print(error, file=sys.stderr)
            return 2
        manifest = settings.deployment.to_dict()

    def spawn() -> WorkerProcess:
        return WorkerProcess(Init(manifest, args.num_local_replicas, args.memory_bytes))

    worker = spawn()
    from vajra.replica.run import run

    return run(manifest, settings, worker, spawn, args)


if __name__ == "__main__":
    sys.exit(main())

"""The operator as a process: waits for its turn, reads the cluster, follows it until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import kopf

from vajra.operator.cluster import Cluster
from vajra.operator.health import Health
from vajra.operator.lease import Elector
from vajra.operator.logs import configure_logs
from vajra.operator.metrics import Metrics
from vajra.operator.operator import Operator
from vajra.operator.options import Options, parse_options

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. The exit status: 0; 1 when it could not go on; 2 for a wrong command line."""
    options = parse_options(arguments)
    configure_logs(options.log_format)
    try:
        asyncio.run(_run(options))
    except asyncio.CancelledError:
        log.info("told to end before there was anything to follow")
    except (kopf.LoginError, OSError) as error:
        log.error("%s", error)
        return 1
    except Exception:
        log.exception("cannot go on")
        return 1
    return 0


async def _run(options: Options) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):  # until Kopf watches, which takes them over
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    instance = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    metrics = Metrics()
    health = Health(metrics)
    await health.start(options.metrics_port)
    async with (
        _leadership(options, instance) as check,
        Cluster(before_write=check, on_answer=metrics.answered) as cluster,
    ):
        await Operator(options, cluster, instance, metrics, health).run()


@contextlib.asynccontextmanager
async def _leadership(options: Options, instance: str) -> AsyncIterator[Callable[[], None]]:
    """Waits to lead; yields what raises when this process does not lead any more; lets another lead in the end."""
    if not options.leader_elect:
        yield lambda: None
        return
    async with Cluster() as cluster:
        elector = Elector(cluster, options.operator_namespace, instance)
        await elector.acquire()
        holding = asyncio.create_task(elector.hold(), name="lease")
        holding.add_done_callback(_end)
        try:
            yield elector.check
        finally:
            holding.remove_done_callback(_end)
            holding.cancel()
            await elector.release()


def _end(holding: asyncio.Task[None]) -> None:
    """Ends the process at once, whatever it is doing: another may lead already."""
    log.error("ending: %s", holding.exception())
    os._exit(1)

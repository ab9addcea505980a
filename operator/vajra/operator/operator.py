"""All parts together: what is seen becomes keys, keys become passes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable
from typing import Any

from vajra.operator.cache import Cache, Key
from vajra.operator.cluster import ApiError, Cluster
from vajra.operator.events import Recorder
from vajra.operator.executor import Executor
from vajra.operator.health import Health
from vajra.operator.kinds import NODE, Kind
from vajra.operator.metrics import Metrics
from vajra.operator.model import Settings
from vajra.operator.nodes import Nodes
from vajra.operator.options import Options
from vajra.operator.poller import Poller
from vajra.operator.queue import WorkQueue
from vajra.operator.reconcile import Reconciler
from vajra.operator.resync import Resync
from vajra.operator.watch import watch

log = logging.getLogger(__name__)

_STOP_SECONDS = 15.0  # for passes under way; the pod's grace period is longer
_SETTLE_SECONDS = 1.0  # watches that break together list together


class Operator:
    """One operator that leads, or is alone. instance: names this process in events."""

    def __init__(self, options: Options, cluster: Cluster, instance: str, metrics: Metrics, health: Health) -> None:
        self._options = options
        self._instance = instance
        self._metrics = metrics
        self._health = health
        self._cache = Cache()
        self._nodes = Nodes()
        self._resync = Resync(cluster, self._cache, self._nodes, options.namespaces)
        self._poller = Poller(self._cache.pods, self._add)
        executor = Executor(cluster, self._cache, self._poller, Recorder(cluster, instance))
        settings = Settings(options.replica_image, options.operator_namespace, options.image_pull_policy)
        reconciler = Reconciler(self._cache, self._nodes, self._poller, executor, settings, metrics.passed)
        self._queue: WorkQueue[Key] = WorkQueue(reconciler.reconcile, concurrency=options.concurrency, observer=metrics)
        self._filled = False
        self._listed_anew = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Returns after SIGTERM or SIGINT, when the passes under way have ended. Raises what ended it otherwise."""
        self._health.readiness_checks.append(self._check_filled)
        await self._resync.first()
        await self._poller.ask_all()
        self._filled = True
        self._queue.start()
        self._metrics.follow(self._queue, self._cache)
        self._health.health_checks.append(self._check_parts)
        for key in self._cache.deployments():
            self._queue.add(key)
        log.info("following %d VajraDeployments", len(self._cache.deployments()))
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._poller.run()), group.create_task(self._resync_for_ever())]
            await watch(
                self._observe,
                self._options.namespaces,
                nodes=self._resync.sees_nodes,
                instance=self._instance,
                stop=self._stop,
            )

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._queue.stop(_STOP_SECONDS)
        await self._health.stop()

    def _observe(self, kind: Kind, change: str | None, item: dict[str, Any]) -> None:
        gone = change == "DELETED"
        if kind is NODE:
            names = self._nodes.observe_gone(item) if gone else self._nodes.observe(item)
            keys = {pod.key for pod in self._cache.pods() if pod.node in names} if names else set()
        else:
            if change is None and self._cache.is_delivered(item):
                self._listed_anew.set()  # Kopf does not say what was deleted in between
            keys = self._cache.observe_gone(item) if gone else self._cache.observe(item)
        for key in keys:
            self._add(key)

    def _add(self, key: Key) -> None:
        self._queue.add(key)

    async def _resync_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.resync_seconds * random.uniform(0.9, 1.1)):
                    await self._listed_anew.wait()
                    await asyncio.sleep(_SETTLE_SECONDS)
            self._listed_anew.clear()
            changed: set[Key] = set()
            try:
                changed = await self._resync.run()
            except ApiError as error:
                log.warning("resync: %s", error)
            for key in self._cache.deployments():
                self._queue.add(key, news=key in changed)

    def _check_filled(self) -> Iterable[str]:
        if not self._filled:
            yield "the cluster has not been read yet"

    def _check_parts(self) -> Iterable[str]:
        if not self._queue.healthy:
            yield "a worker of the queue has died"
        limit = self._options.dead_watch_seconds
        for kind in self._cache.overdue(limit):
            yield f"the watch of {kind} is dead: a change is known that it has not brought in {limit:g} s"

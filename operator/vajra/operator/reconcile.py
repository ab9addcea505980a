"""One pass over one VajraDeployment: look, plan, act."""

from __future__ import annotations

import time
from collections.abc import Callable

from vajra.operator.cache import Cache, Key
from vajra.operator.executor import Executor
from vajra.operator.kinds import POD
from vajra.operator.model import Observed, Settings
from vajra.operator.nodes import Nodes
from vajra.operator.own_time import measured
from vajra.operator.planning import plan
from vajra.operator.poller import Poller


class Reconciler:
    """Brings the cluster nearer to a VajraDeployment with every call; at the end a call finds nothing to do.

    on_pass: is told the seconds that each pass took of its own.
    """

    def __init__(
        self,
        cache: Cache,
        nodes: Nodes,
        poller: Poller,
        executor: Executor,
        settings: Settings,
        on_pass: Callable[[float], None],
    ) -> None:
        self._cache = cache
        self._nodes = nodes
        self._poller = poller
        self._executor = executor
        self._settings = settings
        self._on_pass = on_pass

    async def reconcile(self, key: Key) -> float | None:
        """The seconds after which to call again though nothing may have changed; None: no need.

        Raises RetryError when something could not be done.
        """
        with measured(self._on_pass):
            return await self._pass(key)

    async def _pass(self, key: Key) -> float | None:
        deployment = self._cache.deployment(key)
        if deployment is None:
            return None  # what belonged to it goes by its owner references
        children = self._cache.children(key)
        pods = {child["metadata"]["uid"]: child["metadata"]["name"] for child in children if child["kind"] == POD.name}
        reports = {name: report for uid, name in pods.items() if (report := self._poller.report(uid)) is not None}
        made = plan(Observed(deployment, children, reports, self._nodes.down, time.time()), self._settings)
        await self._executor.execute(key, deployment, made)
        return made.requeue_after

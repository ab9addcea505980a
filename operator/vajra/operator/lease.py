"""Leader election: of several operators one reconciles, the one that holds a coordination.k8s.io Lease.

Clocks of other machines count for nothing: a lease has run out when its record has not changed for so long as this
process has watched it. A leader that cannot renew in time ends; it never goes on as a follower.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from vajra.operator.cluster import ApiError, Cluster, Object
from vajra.operator.kinds import LEASE
from vajra.operator.queue import RetryError
from vajra.operator.timestamps import micro_time

log = logging.getLogger(__name__)


class LeadershipLostError(RetryError):
    """Another may lead by now: nothing may be written any more."""


class Elector:
    """One candidate. `cluster` must be its own, whose writes are not held up by the question who leads.

    lease_seconds: a record that stands still for so long is dead. renew_seconds: a leader that could not renew for so
    long gives up, well before that. retry_seconds: between attempts.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        *,
        name: str = "vajra-operator",
        lease_seconds: int = 15,
        renew_seconds: float = 10.0,
        retry_seconds: float = 2.0,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._name = name
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._retry_seconds = retry_seconds
        self._lease: Object = {}
        self._seen: tuple[str, float] = ("", 0.0)  # the record's version, and since when
        self._renewed = float("-inf")

    @property
    def leading(self) -> bool:
        """Whether this process may write."""
        return time.monotonic() - self._renewed < self._lease_seconds

    def check(self) -> None:
        """Raises LeadershipLostError unless this process leads; also when it slept through its lease."""
        if not self.leading:
            raise LeadershipLostError(f"{self._identity} does not lead")

    async def acquire(self) -> None:
        """Returns when this process leads."""
        told = ""
        while True:
            try:
                if await self._try_to_acquire():
                    log.info("leading as %s", self._identity)
                    return
                holder = self._lease["spec"].get("holderIdentity") or "nobody"
                if holder != told:
                    log.info("waiting: %s leads", holder)
                    told = holder
            except ApiError as error:
                log.warning("no lease: %s", error)
            await asyncio.sleep(self._retry_seconds)

    async def hold(self) -> None:
        """Renews. Raises LeadershipLostError when another leads, or when renewing has failed for too long."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            left = self._renewed + self._renew_seconds - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    await self._renew()
            except (ApiError, TimeoutError) as error:
                log.warning("the lease is not renewed: %s", error or "no answer")
                if time.monotonic() - self._renewed >= self._renew_seconds:
                    raise LeadershipLostError(
                        f"the lease could not be renewed for {self._renew_seconds:g} s; another may lead"
                    ) from error

    async def release(self) -> None:
        """Lets another lead at once."""
        if not self.leading:
            return
        self._renewed = float("-inf")
        try:
            await self._write({"holderIdentity": "", "leaseDurationSeconds": 1})
        except ApiError as error:
            log.warning("the lease is not released: %s; another leads when it has run out", error)

    async def _try_to_acquire(self) -> bool:
        started = time.monotonic()
        try:
            self._lease = await self._cluster.get(LEASE, self._namespace, self._name)
        except ApiError as error:
            if error.status != 404:
                raise
            spec = self._record() | {"acquireTime": micro_time(), "leaseTransitions": 0}
            meta = {"name": self._name, "namespace": self._namespace}
            manifest = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": meta, "spec": spec}
            self._lease = await self._cluster.create(LEASE, self._namespace, manifest)
            self._renewed = started
            return True
        version = self._lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, started)
        spec = self._lease["spec"]
        holder = spec.get("holderIdentity")
        if holder and holder != self._identity and started - self._seen[1] < spec.get("leaseDurationSeconds", 0):
            return False
        await self._write(
            self._record() | {"acquireTime": micro_time(), "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        )
        self._renewed = started
        return True

    async def _renew(self) -> None:
        started = time.monotonic()
        try:
            await self._write(self._record())
        except ApiError as error:
            if error.status != 409:
                raise
            self._lease = await self._cluster.get(LEASE, self._namespace, self._name)
            holder = self._lease["spec"].get("holderIdentity")
            if holder != self._identity:
                self._renewed = float("-inf")
                raise LeadershipLostError(f"{holder or 'nobody'} holds the lease now") from error
            await self._write(self._record())
        self._renewed = started

    def _record(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "renewTime": micro_time(),
        }

    async def _write(self, spec: dict[str, Any]) -> None:
        """Writes over the version that was read, or fails with 409."""
        lease = self._lease | {"spec": self._lease["spec"] | spec}
        self._lease = await self._cluster.replace(LEASE, self._namespace, lease)

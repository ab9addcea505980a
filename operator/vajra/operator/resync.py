"""Lists everything: at the start, and every few minutes, so that a lost event harms for minutes at most."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from vajra.operator.cache import Cache, Key
from vajra.operator.cluster import ApiError, Cluster
from vajra.operator.kinds import CHILDREN, LABEL, NODE, VAJRA_DEPLOYMENT, Kind
from vajra.operator.nodes import Nodes, is_ready

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0


class Resync:
    """Reads all kinds, of some namespaces or (none named) of all."""

    def __init__(self, cluster: Cluster, cache: Cache, nodes: Nodes, namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._nodes = nodes
        self._namespaces: Sequence[str | None] = namespaces or [None]
        self.sees_nodes = True  # until it is found forbidden

    async def first(self) -> None:
        """Fills the cache, however long the cluster keeps that from being done."""
        while True:
            try:
                await self.run()
                return
            except ApiError as error:
                log.warning("%s; %sagain in %.0f s", error, _advice(error), _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def run(self) -> set[Key]:
        """Reads once; the keys that it was news for. Raises ApiError."""
        changed: set[Key] = set()
        for kind in (VAJRA_DEPLOYMENT, *CHILDREN):
            for namespace in self._namespaces:
                changed |= await self._read(kind, namespace)
        if self.sees_nodes:
            nodes = await self._read_nodes()
            changed |= {pod.key for pod in self._cache.pods() if pod.node in nodes}
        return changed

    async def _read(self, kind: Kind, namespace: str | None) -> set[Key]:
        changed: set[Key] = set()
        listed: set[tuple[str, str]] = set()
        version = 0
        async for page in self._cluster.pages(kind, namespace, labels="" if kind is VAJRA_DEPLOYMENT else LABEL):
            version = page.version
            listed |= {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in page.items}
            changed |= self._cache.store_page(page.items)
        return changed | self._cache.prune(kind, namespace, listed, version)

    async def _read_nodes(self) -> set[str]:
        """The names of nodes that went down or came up."""
        down: set[str] = set()
        try:
            async for page in self._cluster.pages(NODE):
                down |= {node["metadata"]["name"] for node in page.items if not is_ready(node)}
        except ApiError as error:
            if error.status != 403:
                raise
            self.sees_nodes = False
            log.warning("%s; pods on a lost node will be replaced only when the cluster itself deletes them", error)
        return self._nodes.replace(down)


def _advice(error: ApiError) -> str:
    if error.status == 404:
        return f"is the CRD of {VAJRA_DEPLOYMENT.name} installed (kubectl apply -f manifests/crd.yaml)? "
    if error.status == 403:
        return "the operator's ServiceAccount lacks a right of its ClusterRole or Role; "
    return ""

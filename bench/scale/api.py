"""The API server as the bench and its fleet see it: plain JSON over one session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from vajra.operator.cluster import login
from vajra.operator.kinds import Kind

_MERGE = {"Content-Type": "application/merge-patch+json"}
_LINE_BYTES = 16 << 20


class Api:
    """Calls that raise aiohttp.ClientResponseError when they are refused."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create(self, kind: Kind, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Makes an object."""
        async with self._session.post(kind.path(namespace), json=manifest) as response:
            await response.read()

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = ""
    ) -> None:
        """A merge patch."""
        body = json.dumps(patch)
        async with self._session.patch(kind.path(namespace, name, subresource), data=body, headers=_MERGE) as response:
            await response.read()

    async def watch(self, kind: Kind, namespace: str, labels: str = "") -> AsyncIterator[dict[str, Any]]:
        """Every object that there is and every version that it gets, from now on, for ever."""
        params = {"watch": "1", "labelSelector": labels, "timeoutSeconds": "3600"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(kind.path(namespace), params=params, timeout=timeout) as response:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]


@asynccontextmanager
async def connect() -> AsyncIterator[Api]:
    """The API server of $KUBECONFIG."""
    connection = login()
    async with aiohttp.ClientSession(
        base_url=connection.server.rstrip("/"),
        connector=aiohttp.TCPConnector(ssl=connection.as_ssl_context(), limit=0),
        headers={**connection.as_http_headers(), "User-Agent": "vajra-bench"},
        raise_for_status=True,
        read_bufsize=_LINE_BYTES,
    ) as session:
        yield Api(session)

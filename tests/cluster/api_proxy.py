"""A proxy before an API server that a test can make misbehave: refuse, cut off, and tell what was asked of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import kopf
from aiohttp import web

_HOP_HEADERS = {"host", "connection", "transfer-encoding", "content-length", "accept-encoding"}


@dataclass(frozen=True)
class Call:
    """A request that came by. path: without the query; watch: whether it is to stay open."""

    method: str
    path: str
    watch: bool

    @property
    def writes(self) -> bool:
        """Whether it may change something. Leases are left out: they are written all the time."""
        return self.method != "GET" and "/leases" not in self.path

    @property
    def lists_deployments(self) -> bool:
        """Whether it asks for all VajraDeployments there are."""
        return self.method == "GET" and self.path.endswith("/vajradeployments") and not self.watch


@dataclass(frozen=True)
class Refusal:
    """An answer that the API server did not give."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiProxy:
    """`with ApiProxy(connection) as proxy`: `proxy.url` is the API server as the connection's user sees it.

    Both rules are called in the proxy's thread, for every request. before: may refuse it. after: may replace the answer
    of a server that has done what was asked; not for watches. calls: all requests that were not refused. mute: watches
    stay open and bring nothing.
    """

    def __init__(self, connection: kopf.ConnectionInfo) -> None:
        self.before: Callable[[Call], Refusal | None] = lambda call: None
        self.after: Callable[[Call], Refusal | None] = lambda call: None
        self.calls: list[Call] = []
        self.mute = False
        self._connection = connection
        self._watches: dict[web.StreamResponse, asyncio.Transport] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="API proxy")

    @property
    def writes(self) -> list[Call]:
        """Of the calls, those that may have changed something."""
        return [call for call in self.calls if call.writes]

    def __enter__(self) -> ApiProxy:
        self._thread.start()
        self.url = self._do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_watches()
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def write_kubeconfig(self, path: Path) -> Path:
        """For a client that is to come this way."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
        }
        path.write_text(json.dumps(config))
        return path

    def cut_watches(self) -> None:
        """Breaks the connections of all watches."""

        async def cut() -> None:
            for transport in self._watches.values():
                transport.abort()

        self._do(cut())

    def expire_watches(self) -> None:
        """Ends all watches with 410: what they would go on from is not kept any more."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}

        async def expire() -> None:
            for watch in list(self._watches):
                with contextlib.suppress(ConnectionError):  # it has just ended
                    await watch.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")

        self._do(expire())

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _start(self) -> str:
        self._session = aiohttp.ClientSession(
            self._connection.server,
            connector=aiohttp.TCPConnector(ssl=self._connection.as_ssl_context(), limit=0),
            headers=self._connection.as_http_headers() | {"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=1 << 22,  # longer than any line
        )
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        server = self._runner.server
        assert server is not None
        transports = [each.transport for each in server.connections]
        await self._runner.cleanup()
        await self._session.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # requests that nobody waits for
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # connections that were being made are made
        for transport in [*transports, *(each.transport for each in server.connections)]:
            if transport is not None:  # its client does not read, or has come while others were closed
                transport.abort()
        await asyncio.sleep(0)  # what is aborted is closed

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, "watch" in request.query)
        refusal = self.before(call)
        if refusal is not None:
            return _answer(refusal)
        self.calls.append(call)
        body = await request.read()
        async with self._session.request(
            request.method, request.raw_path, headers=_end_to_end(request.headers), data=body or None
        ) as answer:
            if call.watch:
                return await self._stream(request, answer)
            content = await answer.read()
        refusal = self.after(call)
        if refusal is not None:
            return _answer(refusal)
        return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=content)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        assert request.transport is not None
        response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
        await response.prepare(request)
        self._watches[response] = request.transport
        try:
            with contextlib.suppress(ConnectionError):
                async for line in answer.content:  # whole ones, for something may be said in between
                    if not self.mute:
                        await response.write(line)
        finally:
            del self._watches[response]
        return response


def _answer(refusal: Refusal) -> web.Response:
    """As metav1.Status."""
    status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": refusal.status}
    body = status | {"reason": refusal.reason, "message": "the test wants it so"}
    return web.json_response(body, status=refusal.status, headers=refusal.headers)


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_HEADERS}

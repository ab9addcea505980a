"""/healthz, /readyz and /metrics over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web

from vajra.operator.metrics import Metrics

_TICK_SECONDS = 1.0
_LAG_SECONDS = 10.0

Check = Callable[[], Iterable[str]]  # what is wrong, a line each


class Health:
    """A server whose answers come from checks that its owner adds as its parts come to life.

    Health: whether a restart is called for. Readiness: whether this process does its part, be it to wait for a lease.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.health_checks: list[Check] = [self._check_lag]
        self.readiness_checks: list[Check] = []
        self._metrics = metrics
        self._lag = 0.0
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", lambda _: _answer(self.health_checks)),
                web.get("/readyz", lambda _: _answer([*self.health_checks, *self.readiness_checks])),
                web.get("/metrics", self._scrape),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self, port: int) -> None:
        """Listens on all addresses. Raises OSError when it cannot."""
        await self._runner.setup()
        await web.TCPSite(self._runner, None, port).start()
        self._ticker = asyncio.create_task(self._tick(), name="loop lag")

    async def stop(self) -> None:
        """Closes the server and its connections."""
        self._ticker.cancel()
        await self._runner.cleanup()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self._lag = loop.time() - due

    def _check_lag(self) -> Iterable[str]:
        if self._lag > _LAG_SECONDS:
            yield f"the event loop is {self._lag:.1f} s late"

    async def _scrape(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._metrics.render(), content_type="text/plain", charset="utf-8")


async def _answer(checks: Iterable[Check]) -> web.Response:
    wrong = [line for check in checks for line in check()]
    return web.Response(status=503 if wrong else 200, text="\n".join(wrong or ["ok"]) + "\n")

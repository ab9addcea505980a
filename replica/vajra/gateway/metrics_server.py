"""/metrics on a port of its own: a gateway in a cluster need not have an OpenAI API."""

from __future__ import annotations

from aiohttp import web

from vajra.gateway.gateway import Gateway
from vajra.gateway.listener import listen
from vajra.metrics.prometheus import CONTENT_TYPE


class MetricsServer:
    """Answers scrapes from the first moment to the last."""

    def __init__(self, gateway: Gateway, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._gateway = gateway
        app = web.Application()
        app.add_routes([web.get("/metrics", self._scrape)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listens. Raises StartupError for a port in use."""
        await self._runner.setup()
        listener = listen(self.host, self.port, "--metrics")
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()

    async def stop(self, *, at_once: bool) -> None:
        """Ends; a scrape under way is answered unless `at_once`."""
        if not at_once:
            await self._runner.cleanup()

    async def _scrape(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._gateway.scrape(), headers={"Content-Type": CONTENT_TYPE})

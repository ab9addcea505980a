"""One HTTP connection: what goes wrong outside the endpoints leaves as OpenAI's error object too."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from vajra.gateway.openai.errors import INTERNAL_ERROR, HttpError
from vajra.gateway.openai.responses import error_response, explain

log = logging.getLogger(__name__)
_CLIENTS_FAULTS = (HttpProcessingError, web.RequestPayloadError)


class Connection(web.RequestHandler):
    """aiohttp's protocol of a connection, without its plain text, and without a log entry for what is no HTTP: that is
    no fault of ours, and a port scan should not fill the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser refused, or to an exception that no middleware caught."""
        self.log_exception("%s %s failed", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun; there is no room for an error")
        error = INTERNAL_ERROR if status >= 500 else _unreadable(status, exc, message)
        response = error_response(error)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        if not isinstance(kw.get("exc_info"), _CLIENTS_FAULTS):
            super().log_exception(*args, **kw)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends an answer; aiohttp's own refusals (of a path, a method, a size, an Expect) are spelled out first."""
        if isinstance(resp, web.HTTPException):
            allow = resp.headers.get("Allow")
            resp = error_response(explain(request, resp))
            if allow is not None:
                resp.headers["Allow"] = allow
        return await super().finish_response(request, resp, start_time)


async def listen(runner: web.AppRunner, listener: socket.socket) -> asyncio.Server:
    """Accepts connections for a runner that is set up. Close it before the runner's cleanup."""
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None
    return await loop.create_server(
        lambda: Connection(server, loop=loop, logger=log, access_log=None),  # type: ignore[arg-type]
        sock=listener,
    )


def _unreadable(status: int, exc: BaseException | None, message: str | None) -> HttpError:
    if isinstance(exc, LineTooLong):
        detail = f"a line of its head is longer than {exc.args[1]} bytes"
    else:
        detail = " ".join((message or "").split())
    return HttpError(status, "invalid_request_error", "invalid_http", f"this is no HTTP/1.1 request: {detail}")

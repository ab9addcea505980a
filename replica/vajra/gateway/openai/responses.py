"""JSON responses, and errors that aiohttp would answer with plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from vajra.gateway.openai.errors import HttpError

MAX_BODY_BYTES = 16 << 20


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)


def error_response(error: HttpError) -> web.Response:
    return json_response(error.body, error.status, error.headers)


def explain(request: web.BaseRequest, error: web.HTTPException) -> HttpError:
    """What an exception of aiohttp's has to say, in full."""
    match error.status:
        case 404:
            text = f"there is no {request.path}; see /v1/models, /v1/completions and /v1/chat/completions"
        case 405:
            allowed = ", ".join(sorted(error.allowed_methods)) if isinstance(error, web.HTTPMethodNotAllowed) else ""
            text = f"{request.path} takes {allowed}, not {request.method}"
        case 408:
            text = "the body did not arrive in time, or is not what Content-Length or Transfer-Encoding says"
        case 413:
            text = f"the body is larger than {MAX_BODY_BYTES >> 20} MiB, which is the most this server reads"
        case 415:
            given = request.headers.get("Content-Type", "")
            text = f"{request.path} reads JSON; Content-Type is {given!r}, it must be application/json"
        case 417:
            text = f"the header Expect is {request.headers.get('Expect', '')!r}; leave it out or send 100-continue"
        case _:
            text = error.reason
    return HttpError(error.status, "invalid_request_error", None, text)

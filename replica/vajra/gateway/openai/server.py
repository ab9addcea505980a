"""The HTTP face: OpenAI's endpoints, health and metrics on one port."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from vajra.gateway.api_keys import ApiKeys, Tenant
from vajra.gateway.errors import InvalidRequest, RequestError, Unavailable, UnknownModel
from vajra.gateway.gateway import Gateway
from vajra.gateway.openai import chat, completions
from vajra.gateway.openai.answering import answer, stream_answer
from vajra.gateway.openai.connection import listen
from vajra.gateway.openai.errors import INTERNAL_ERROR, HttpError, to_http
from vajra.gateway.openai.fields import parse_json
from vajra.gateway.openai.protocol import Answer, Envelope
from vajra.gateway.openai.responses import MAX_BODY_BYTES, error_response, json_response
from vajra.gateway.request import GenerateRequestData, ModelInfo
from vajra.metrics.prometheus import CONTENT_TYPE

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0
BODY_SECONDS = 60.0  # for a request's body to arrive
_OPEN_PATHS = ("/health", "/metrics")  # probes and scrapers carry no key
_TENANT = web.RequestKey("tenant", Tenant)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Reader = Callable[[Mapping[str, Any]], tuple[list[GenerateRequestData], bool, bool]]


class HttpServer:
    """Serves a gateway on a listening socket."""

    def __init__(self, gateway: Gateway, listener: socket.socket, keys: ApiKeys) -> None:
        self._gateway, self._keys = gateway, keys
        self._listener = listener
        self._created = int(time.time())
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._errors, self._authenticate])
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{id:.+}", self._one_model),
                web.post("/v1/completions", self._completions),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        app.on_response_prepare.append(self._send_elsewhere)
        # A client that goes away cancels its handler, and with it the request.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begins to answer; /health says 503 until the gateway is well."""
        await self._runner.setup()
        self._server = await listen(self._runner, self._listener)

    def close(self) -> None:
        """Takes no connection any more and closes those that are idle; the others after the answer under way."""
        if self._server is not None:
            self._server.close()
        if self._runner.server is not None:
            self._runner.server.pre_shutdown()

    async def stop(self, *, at_once: bool) -> None:
        """Closes the socket at once, and connections that are busy after SHUTDOWN_SECONDS, or with `at_once` never: the
        process ends."""
        if self._server is not None:
            self._server.close()
        if not at_once:
            await self._runner.cleanup()

    # ---- endpoints

    async def _health(self, request: web.Request) -> web.Response:
        if self._gateway.healthy:
            return json_response({"status": "serving"})
        status = "draining" if self._gateway.draining else "recovering" if self._gateway.ready else "loading"
        return json_response({"status": status}, 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._gateway.scrape(), headers={"Content-Type": CONTENT_TYPE})

    async def _models(self, request: web.Request) -> web.Response:
        return json_response({"object": "list", "data": [self._card(self._model())]})

    async def _one_model(self, request: web.Request) -> web.Response:
        model, name = self._model(), request.match_info["id"]
        if name != model.name and name not in model.aliases:
            raise UnknownModel(f"the model {name!r} is not served here; this server has {model.name!r}")
        return json_response(self._card(model))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, completions.read, completions.CompletionAnswer, "cmpl")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat.read, chat.ChatAnswer, "chatcmpl")

    async def _generate(
        self, request: web.Request, read: _Reader, form: Callable[..., Answer], prefix: str
    ) -> web.StreamResponse:
        model, tokenizer = self._model(), self._gateway.tokenizer
        if tokenizer is None:
            raise InvalidRequest("this model has no tokenizer, so it answers in token ids, over gRPC only")
        _check_content_type(request)
        requests, stream, include_usage = read(parse_json(await _body(request)))
        name = f"{prefix}-{uuid.uuid4().hex}"
        generation = await self._gateway.open(_named(requests, name, request[_TENANT]))
        try:
            envelope = Envelope(
                id=name,
                created=int(time.time()),
                model=model.name,
                logprobs=requests[0].logprobs is not None,
                choices_per_prompt=requests[0].n or 1,
                include_usage=include_usage,
            )
            shape = form(envelope, tokenizer)
            if stream:
                return await stream_answer(request, generation, shape)
            return json_response(await answer(generation, shape))
        finally:
            generation.close()

    # ---- around them

    def _model(self) -> ModelInfo:
        if self._gateway.model is None or not (self._gateway.ready or self._gateway.draining):
            raise Unavailable("the model is still loading; try again soon")
        return self._gateway.model

    def _card(self, model: ModelInfo) -> dict[str, Any]:
        return {
            "id": model.name,
            "object": "model",
            "created": self._created,
            "owned_by": "vajra",
            "max_model_len": model.max_model_len,
            "vocab_size": model.vocab_size,
            "num_layers": model.num_layers,
            "dtype": model.dtype,
            "architecture": model.architecture,
            "fingerprint": self._gateway.fingerprint,
            "notices": self._gateway.notices,
        }

    async def _send_elsewhere(self, request: web.Request, response: web.StreamResponse) -> None:
        """While the gateway leaves, every answer is its connection's last: the client's next one leads elsewhere."""
        if self._gateway.leaving:
            response.headers["Connection"] = "close"
            response.force_close()

    @web.middleware
    async def _errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Every failure before an answer has begun leaves as OpenAI's error object."""
        try:
            return await handler(request)
        except RequestError as error:
            return error_response(to_http(error))
        except web.RequestPayloadError as error:
            return error_response(to_http(_unreadable(request, error)))
        except (ConnectionError, web.HTTPException):  # the client went away; `Connection` spells the other out
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return error_response(INTERNAL_ERROR)

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path not in _OPEN_PATHS:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            tenant = self._keys.tenant(given)
            if tenant is None:
                message = "the API key is missing or wrong; send the header 'Authorization: Bearer KEY'"
                return error_response(HttpError(401, "invalid_request_error", "invalid_api_key", message))
            request[_TENANT] = tenant
        return await handler(request)


def _named(requests: list[GenerateRequestData], name: str, tenant: Tenant) -> list[GenerateRequestData]:
    """Whose they are, and under the answer's id, as a ledger names them; of several prompts with a number behind it."""
    ids = [name] if len(requests) == 1 else [f"{name}/{i}" for i in range(len(requests))]
    return [replace(request, request_id=id, tenant=tenant) for request, id in zip(requests, ids, strict=True)]


def _check_content_type(request: web.Request) -> None:
    """A page of another site may send forms and plain text from a visitor's browser unasked, but not JSON."""
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType


async def _body(request: web.Request) -> bytes:
    """Also ends the wait for a body that breaks down on the way: aiohttp's parser does not tell its reader."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _unreadable(request: web.Request, error: web.RequestPayloadError) -> InvalidRequest:
    cause = error.__cause__
    if isinstance(cause, ContentEncodingError):
        coding = request.headers.get("Content-Encoding", "identity")
        return InvalidRequest(f"the body cannot be read as Content-Encoding {coding}")
    detail = " ".join(str(getattr(cause, "message", error)).split())
    return InvalidRequest(f"the body cannot be read: {detail}")

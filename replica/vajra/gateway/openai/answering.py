"""Sends a generation to its client: whole, or as server-sent events."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from vajra.gateway.errors import ClientTooSlow, InternalError, RequestError, Unavailable
from vajra.gateway.generation import Generation
from vajra.gateway.openai.errors import to_http
from vajra.gateway.openai.protocol import Answer
from vajra.gateway.request import Delta, FinishReason, Usage

STALL_SECONDS = 60.0  # a client whose socket takes nothing for so long is cut off
_encode = msgspec.json.Encoder().encode


async def answer(generation: Generation, shape: Answer) -> dict[str, Any]:
    """Waits for every choice. Raises RequestError."""
    whole: dict[int, Delta] = {}
    while deltas := await generation.take():
        for delta in deltas:
            if delta.index in whole:
                whole[delta.index].merge(delta)
            else:
                whole[delta.index] = delta
    if generation.aborted:
        raise _cut_short()
    return shape.whole(whole.values())


async def stream_answer(request: web.Request, generation: Generation, shape: Answer) -> web.StreamResponse:
    """Sends events as deltas come. Until the first one, errors leave as plain HTTP errors; then as an error event."""
    deltas = await generation.take()
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    held: dict[int, Delta] = {}
    usages: dict[int, Usage | None] = {}
    try:
        while deltas:
            events = []
            for news in deltas:
                if (delta := _release(held, news)) is None:
                    continue
                if delta.finish_reason is FinishReason.ABORTED:
                    raise _cut_short()
                if delta.finish_reason is not None:
                    usages[delta.index] = delta.usage
                events.append(b"data: " + _encode(shape.chunk(delta)) + b"\n\n")
            if events:
                await _write(response, request, b"".join(events))
            deltas = await generation.take()
        tail = b"data: [DONE]\n\n"
        if shape.envelope.include_usage:
            tail = b"data: " + _encode(shape.usage_chunk(usages)) + b"\n\n" + tail
    except RequestError as error:
        tail = b"data: " + _encode(to_http(error).body) + b"\n\n"
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        tail = b"data: " + _encode(to_http(InternalError("internal error")).body) + b"\n\n"
        await _write(response, request, tail)
        raise
    await _write(response, request, tail)
    await response.write_eof()
    return response


def _release(held: dict[int, Delta], delta: Delta) -> Delta | None:
    """A token without text (half a character, the start of a stop string) goes out with the next one that has some."""
    waiting = held.pop(delta.index, None)
    if waiting is not None:
        waiting.merge(delta)
        delta = waiting
    if delta.text or delta.finish_reason is not None:
        return delta
    held[delta.index] = delta
    return None


async def _write(response: web.StreamResponse, request: web.Request, data: bytes) -> None:
    """Raises ConnectionError for a client that is gone or takes nothing."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(str(ClientTooSlow("the client takes nothing"))) from None


def _cut_short() -> RequestError:
    return Unavailable("the server is going down and its time for finishing requests is over; use another one", 5.0)

"""A small streaming client for OpenAI-compatible servers, whoever made them: for `vajra chat` and `vajra bench`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp


class ServerError(Exception):
    """The server refused, failed or could not be reached; the text says which, for people."""


class OpenAIClient:
    """One server. `url` is its root or its `/v1`; an async context manager."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ServerError(f"{url!r} is not a server's address; it looks like http://127.0.0.1:8000")
        root = url.rstrip("/")
        self.base = root if root.endswith("/v1") else root + "/v1"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # The workload limits concurrency, not the pool. A connection each: some servers close an idle one just as the
        # next request goes out on it, and that failure would count against them.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use `async with`"
        return self._session

    async def models(self) -> list[str]:
        """Names of the served models.

        Raises:
            ServerError: unreachable, or not an OpenAI-compatible server.
        """
        try:
            async with self._open().get(self.base + "/models") as response:
                await _check(response)
                payload = await response.json(content_type=None)
                return [str(model["id"]) for model in payload["data"]]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServerError(_reason(self.base, error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(f"{self.base}/models did not answer like an OpenAI-compatible server") from error

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """POSTs `body` with stream=true to `path` ("/completions") and yields the JSON of each server-sent event.

        Raises:
            ServerError: refused, failed midway, timed out or unreachable.
        """
        try:
            async with self._open().post(self.base + path, json={**body, "stream": True}) as response:
                await _check(response)
                pending = b""
                async for chunk in response.content.iter_any():
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        if not line.startswith(b"data:"):
                            continue
                        data = line[5:].strip()
                        if data == b"[DONE]":
                            return
                        event = json.loads(data)
                        if "error" in event:
                            raise ServerError(_message(event))
                        yield event
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServerError(_reason(self.base, error)) from error
        except ValueError as error:
            raise ServerError(f"{self.base}{path} sent an event that is not JSON") from error


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text(errors="replace")
    try:
        message = _message(json.loads(text))
    except ValueError:
        message = text.strip()[:200] or response.reason or "no reason given"
    hint = {401: " (give the key with --api-key or VAJRA_API_KEY)", 404: " (is the address and the model right?)"}
    raise ServerError(f"HTTP {response.status}: {message}{hint.get(response.status, '')}")


def _message(payload: Any) -> str:
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _reason(base: str, error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {base}: {error.os_error.strerror or error}"
    return f"connection failed: {type(error).__name__}" + (f": {error}" if str(error) else "")

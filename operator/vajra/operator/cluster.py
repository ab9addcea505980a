"""A small client of the API server: plain dicts in and out, one session, no retries.

What fails is told and comes back through the work queue; so a call is made once, with what is true then.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp
import kopf

from vajra.operator.kinds import Kind
from vajra.operator.own_time import waiting
from vajra.operator.planning.drift import FIELD_MANAGER
from vajra.operator.queue import RetryError

_PAGE = 100  # reading one keeps everything else waiting
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"

Object = dict[str, Any]


class Page(NamedTuple):
    """A part of a list. version: the resource version of the whole list, the same in all its pages."""

    items: Sequence[Object]
    version: int


class ApiError(RetryError):
    """The API server said no, or nothing. status: of HTTP, 0 without an answer; reason: as in metav1.Status."""

    def __init__(self, call: str, status: int, reason: str, message: str, after: float = 0.0) -> None:
        super().__init__(f"{call}: {status or 'no answer'} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.after = after


def login() -> kopf.ConnectionInfo:
    """The credentials of this pod's ServiceAccount, else those of $KUBECONFIG or ~/.kube/config.

    Raises kopf.LoginError when there is neither.
    """
    settings = kopf.OperatorSettings()
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise kopf.LoginError(
            "no credentials for a cluster: this process has no ServiceAccount and there is no kubeconfig; "
            "run it in a pod, or set KUBECONFIG"
        )
    return found


class Cluster:
    """`async with Cluster() as cluster`: the API server that `login` finds.

    before_write: called before every write; what it raises stops the write. on_answer: called with the method and the
    status of every answer.
    """

    def __init__(
        self,
        before_write: Callable[[], None] = lambda: None,
        on_answer: Callable[[str, int], None] = lambda method, status: None,
    ) -> None:
        self._before_write = before_write
        self._on_answer = on_answer

    async def __aenter__(self) -> Cluster:
        connection = login()
        self._server = connection.server.rstrip("/")
        self._credentials = connection.as_http_headers()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=connection.as_ssl_context()),
            headers={"User-Agent": FIELD_MANAGER, "Accept": _JSON},
            timeout=_TIMEOUT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object. Raises ApiError."""
        return await self._call("GET", kind.path(namespace, name))

    async def pages(self, kind: Kind, namespace: str | None = None, *, labels: str = "") -> AsyncIterator[Page]:
        """All objects of a kind (of a namespace, with labels) as they were at one time.

        Raises ApiError; one with the status 410 when reading took so long that it must begin anew.
        """
        params = {"limit": str(_PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            answer = await self._call("GET", kind.path(namespace), params=params)
            identity = {"apiVersion": kind.api_version, "kind": kind.name}  # a list says once what its items are
            yield Page([item | identity for item in answer["items"]], int(answer["metadata"]["resourceVersion"]))
            token = answer["metadata"].get("continue")
            if not token:
                return
            params["continue"] = token

    async def create(self, kind: Kind, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """The object as created. Raises ApiError."""
        return await self._call("POST", kind.path(namespace), body=manifest, params={"fieldManager": FIELD_MANAGER})

    async def apply(self, kind: Kind, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """Server-side apply: what the manifest names is ours from now on. The object afterwards. Raises ApiError."""
        path = kind.path(namespace, manifest["metadata"]["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call("PATCH", path, body=manifest, params=params, content_type=_APPLY)

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = ""
    ) -> Object:
        """JSON merge patch. The object afterwards. Raises ApiError."""
        path, params = kind.path(namespace, name, subresource), {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", path, body=patch, params=params, content_type=_MERGE)

    async def replace(self, kind: Kind, namespace: str, manifest: Mapping[str, Any]) -> Object:
        """PUT: refused when the manifest's resourceVersion is not the newest. Raises ApiError."""
        path = kind.path(namespace, manifest["metadata"]["name"])
        return await self._call("PUT", path, body=manifest, params={"fieldManager": FIELD_MANAGER})

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> Object:
        """Deletes exactly the object with this UID. The object while it goes, or a Status. Raises ApiError."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._call("DELETE", kind.path(namespace, name), body=options)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> Object:
        if method != "GET":
            self._before_write()
        request = {
            "params": params,
            "data": None if body is None else json.dumps(body).encode(),
        }
        headers = {} if body is None else {"Content-Type": content_type}
        answer = await self._send(method, path, request, headers)
        if answer.status == 401:  # a ServiceAccount's token lives for an hour; by then its file has the next one
            self._credentials = login().as_http_headers()
            answer = await self._send(method, path, request, headers)
        if answer.status >= 300:
            reason, message = answer.content.get("reason", "Unknown"), answer.content.get("message", "")
            raise ApiError(f"{method} {path}", answer.status, reason, message, answer.retry_after)
        return answer.content

    async def _send(self, method: str, path: str, request: Object, headers: Mapping[str, str]) -> _Answer:
        try:
            with waiting():
                async with self._session.request(
                    method, self._server + path, headers={**self._credentials, **headers}, **request
                ) as response:
                    text = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(f"{method} {path}", 0, type(error).__name__, str(error)) from error
        self._on_answer(method, response.status)
        try:
            content = json.loads(text)
        except ValueError:
            excerpt = text[:200].decode(errors="replace")
            raise ApiError(f"{method} {path}", response.status, "NotJSON", f"it answered {excerpt!r}") from None
        return _Answer(response.status, content, _seconds(response.headers.get("Retry-After")))


class _Answer(NamedTuple):
    status: int
    content: Object
    retry_after: float


def _seconds(retry_after: str | None) -> float:
    """A Retry-After header in seconds; its other form, a date, no API server sends."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0

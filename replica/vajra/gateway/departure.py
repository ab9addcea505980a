"""How a gateway leaves a cluster so that no client sees an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from vajra.gateway.gateway import Gateway

_QUIET_SECONDS = 1.0  # without a new request: then no client counts on this gateway any more


class Closable(Protocol):
    """A face that can send its clients away."""

    def close(self) -> None:
        """Takes no connection any more; what is under way goes on."""


class Departure:
    """First load balancers are told, and clients: each answer over HTTP is its connection's last, and gRPC's
    connections end by their age. Requests are taken all the same, for a request that has been sent must not fail. Once
    no new ones come, the ports are closed, and what is under way is finished.

    Closing a gRPC server right away would cancel the calls that a client opens before it hears of it.
    """

    def __init__(self, gateway: Gateway, faces: Sequence[Closable], *, max_age: float) -> None:
        """`max_age`: after so many seconds a gRPC connection gets no new calls."""
        self._gateway, self._faces = gateway, faces
        self._busy_seconds = 1.1 * max_age + _QUIET_SECONDS  # gRPC spreads ages by a tenth
        self._leaving: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._aborting: set[asyncio.Task[None]] = set()

    def begin(self, grace: float | None) -> None:
        """Begins to leave, if that has not begun; what is unfinished `grace` seconds after drain.endpointGraceSeconds
        is aborted, the shortest grace counting."""
        endpoints = float(self._gateway.deployment.spec.drain.endpoint_grace_seconds)
        if self._leaving is None:
            self._gateway.retire()
            self._leaving = asyncio.create_task(self._leave(endpoints))
        if grace is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(endpoints + grace, self._abort))

    async def leave(self) -> None:
        """Begins with the deployment's drain.timeoutSeconds as the grace; returns when nothing is left."""
        self.begin(float(self._gateway.deployment.spec.drain.timeout_seconds))
        assert self._leaving is not None
        await asyncio.shield(self._leaving)
        for timer in self._timers:
            timer.cancel()

    async def _leave(self, endpoint_grace: float) -> None:
        await asyncio.sleep(endpoint_grace)
        await self._until_quiet()
        for face in self._faces:
            face.close()
        await self._gateway.wait_idle()

    async def _until_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._busy_seconds
        while True:
            seconds = min(latest, self._gateway.last_opened + _QUIET_SECONDS) - loop.time()
            if seconds <= 0:
                return
            await asyncio.sleep(seconds)

    def _abort(self) -> None:
        """Time is up: nothing new is taken, and what is under way ends as it is."""
        self._aborting.add(asyncio.create_task(self._gateway.drain(0.0)))

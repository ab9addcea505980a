"""Replicas that run elsewhere and that DNS names: each has a link while it is named, or while its stream lives."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from vajra.gateway.listener import url_host
from vajra.gateway.replica_link import LinkObserver, ReplicaLink, ReplicaState

log = logging.getLogger(__name__)

_RESOLVE_SECONDS = 1.0
_MIN_RETRY, _MAX_RETRY = 0.1, 5.0  # seconds before a lost replica is sought again; gRPC's own retries come on top
# No answer is not the answer that there are none.
_UNANSWERED = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY)


class RemoteReplicas:
    """A ReplicaSource over the addresses that some names have, asked for once a second.

    Nobody here starts a replica, gives one up, or minds that there is none.
    """

    owned = False

    def __init__(self, targets: Sequence[tuple[str, int]]) -> None:
        """`targets` are (host, port); every address of a host is a replica."""
        self.trouble = ""  # why a name could not be resolved
        self._targets = targets
        self._answers: dict[tuple[str, int], frozenset[str]] = {}  # the last one of each target
        self._links: dict[str, ReplicaLink] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._resolving: asyncio.Task[None] | None = None
        self._observer: LinkObserver

    @property
    def links(self) -> Sequence[ReplicaLink]:
        """In the order in which they were found."""
        return list(self._links.values())

    def start(self, observer: LinkObserver) -> None:
        """Begins to look for replicas."""
        self._observer = observer
        self._resolving = asyncio.create_task(self._resolve_forever())

    async def stop(self, *, kill: bool) -> None:
        """Lets go of all of them; they live on. Idempotent."""
        tasks = [*self._keeping.values(), *([self._resolving] if self._resolving is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resolve_forever(self) -> None:
        while True:
            await self._resolve()
            named = self._named()
            for address in named - self._links.keys():
                self._links[address] = ReplicaLink(address, self._observer)
                self._keeping[address] = asyncio.create_task(self._keep(self._links[address]))
            for address, link in self._links.items():
                if address not in named and not link.connected:  # a stream that lives ends by itself
                    self._keeping[address].cancel()
            await asyncio.sleep(_RESOLVE_SECONDS)

    async def _resolve(self) -> None:
        troubles: list[str] = []
        for host, port in self._targets:
            try:
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found = frozenset(f"{url_host(str(info[4][0]))}:{port}" for info in infos)
            except (OSError, UnicodeError) as error:
                troubles.append(f"{host}: {getattr(error, 'strerror', None) or error}")
                if getattr(error, "errno", None) in _UNANSWERED:
                    continue
                found = frozenset()
            self._answers[host, port] = found
        trouble = "; ".join(troubles)
        if trouble and trouble != self.trouble:
            log.warning("cannot resolve %s", trouble)
        self.trouble = trouble

    def _named(self) -> frozenset[str]:
        return frozenset().union(*self._answers.values())

    async def _keep(self, link: ReplicaLink) -> None:
        """Follows a replica until it is lost and no name has its address any more."""
        delay = _MIN_RETRY
        try:
            while True:
                link.enter(ReplicaState.STARTING)
                link.served = False
                await link.follow(link.name)
                if link.name not in self._named():
                    return
                link.restarts += 1
                link.message = link.message or "its connection is lost"
                delay = _MIN_RETRY if link.served else min(2 * delay, _MAX_RETRY)
                link.enter(ReplicaState.WAITING)
                await asyncio.sleep(delay)
        finally:
            del self._links[link.name], self._keeping[link.name]
            link.enter(ReplicaState.STOPPED)


def parse_targets(text: str) -> list[tuple[str, int]]:
    """HOST:PORT, or several with commas between them; an IPv6 address in brackets. Raises ValueError."""
    return [parse_target(part) for part in text.split(",")]


def parse_target(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises ValueError."""
    host, colon, port = text.strip().rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{text!r} is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)

"""The watches, which are Kopf's. Kopf informs and does nothing else: it writes nothing into any object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from vajra.operator.cluster import login
from vajra.operator.kinds import CHILDREN, LABEL, NODE, VAJRA_DEPLOYMENT, Kind

Observer = Callable[[Kind, str | None, dict[str, Any]], None]


async def watch(
    observe: Observer, namespaces: Sequence[str], *, nodes: bool, instance: str, stop: Callable[[], Any]
) -> None:
    """Calls `observe` with the kind, the type of the event and the object, for all that there is and all that changes.

    The types are the API server's, and None for what a list has shown: at the start, and when a watch could not go on.

    namespaces: where to look; none means everywhere. nodes: whether nodes are looked at too, which are of no namespace.
    instance: names this process.

    Returns after SIGTERM or SIGINT, and awaits `stop` before its last act: to cancel every task of this event loop that
    is younger than the call. Raises what ends a watch for good.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator]
    def log_in(**_: Any) -> kopf.ConnectionInfo:
        return login()

    @kopf.on.cleanup(registry=registry)  # type: ignore[untyped-decorator]
    async def clean_up(**_: Any) -> None:
        await stop()

    for kind in (VAJRA_DEPLOYMENT, *CHILDREN, *([NODE] if nodes else [])):
        _register(registry, kind, observe)
    await kopf.operator(
        registry=registry,
        settings=_settings(),
        standalone=True,
        identity=instance,  # its own choice needs a user with a name, which images lack
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
    asyncio.get_running_loop().set_exception_handler(_handle)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Passes over what Kopf's generators say when the loop's end closes them: that they did not expect it."""
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


def _register(registry: kopf.OperatorRegistry, kind: Kind, observe: Observer) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)  # type: ignore[untyped-decorator]
    async def on_event(event: Any, **_: Any) -> None:
        observe(kind, event["type"], {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]})


class _NoDiffs(kopf.DiffBaseStorage):  # type: ignore[misc]
    """Kopf copies every object of every event, to know later what has changed. Handlers of events never ask."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("a handler is registered for which Kopf writes into objects")


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # a Lease says who leads
    settings.posting.enabled = False  # events are the plan's
    settings.scanning.disabled = True  # no watch of CRDs and namespaces, so no right to it either
    settings.watching.inactivity_timeout = 70.0  # bookmarks come every minute; a silent watch is a dead one
    settings.watching.chunk_size = 100
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.process.ultimate_exiting_timeout = 30.0
    # Nothing is ever written with handlers like ours; were one of another sort added, it would write under our name.
    settings.persistence.finalizer = "vajra.ai/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="operator.vajra.ai", v1=False)
    settings.persistence.diffbase_storage = _NoDiffs()
    for kind in CHILDREN:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = LABEL
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every event otherwise
    return settings

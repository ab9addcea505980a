"""Events on VajraDeployments, as `kubectl describe` shows them. The same event again is counted, not posted twice."""

from __future__ import annotations

import hashlib
import logging

from vajra.operator.cluster import ApiError, Cluster, Object
from vajra.operator.kinds import EVENT
from vajra.operator.model import Event
from vajra.operator.timestamps import micro_time

log = logging.getLogger(__name__)

CONTROLLER = "vajra.ai/operator"
_NOTE_BYTES = 1024  # the API server's limit
_INSTANCE_CHARACTERS = 128


class Recorder:
    """Posts events. An event's name is made from what it says, so it is found again by any operator, until the API
    server forgets it, after an hour by default."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance[:_INSTANCE_CHARACTERS]

    async def record(self, deployment: Object, event: Event) -> None:
        """Posts or counts. An event that cannot be posted is logged: it must not hold up what it tells of."""
        namespace = deployment["metadata"]["namespace"]
        posted = self._manifest(deployment, event)
        try:
            try:
                await self._cluster.create(EVENT, namespace, posted)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                name = posted["metadata"]["name"]
                known = await self._cluster.get(EVENT, namespace, name)
                count = (known.get("series") or {}).get("count", 1) + 1
                series = {"count": count, "lastObservedTime": posted["eventTime"]}
                await self._cluster.merge(EVENT, namespace, name, {"series": series})
        except ApiError as error:
            log.warning("the event %s (%s) is not posted: %s", event.reason, event.message, error)

    def _manifest(self, deployment: Object, event: Event) -> Object:
        meta = deployment["metadata"]
        note = event.message.encode()[:_NOTE_BYTES].decode(errors="ignore")
        kind = "Warning" if event.warning else "Normal"
        digest = hashlib.sha256("\0".join((meta["uid"], kind, event.reason, note)).encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{meta['name']}.{digest}", "namespace": meta["namespace"]},
            "eventTime": micro_time(),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": kind,
            "reason": event.reason,
            "note": note,
            "regarding": {
                "apiVersion": deployment["apiVersion"],
                "kind": deployment["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
        }

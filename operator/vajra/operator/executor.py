"""Does what a plan says: first the status, then the actions in order, up to the first that fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from vajra.operator import replicas
from vajra.operator.cache import Cache, Key
from vajra.operator.cluster import ApiError, Cluster, Object
from vajra.operator.events import Recorder
from vajra.operator.kinds import LABEL, POD, VAJRA_DEPLOYMENT, Kind, kind_named, kind_of
from vajra.operator.model import Action, Apply, Create, Delete, Drain, Event, Plan, UpdateConfig
from vajra.operator.own_time import waiting
from vajra.operator.poller import Poller
from vajra.operator.queue import RetryError

log = logging.getLogger(__name__)


_REFUSED = (400, 403, 422)  # by validation, a right, a quota or a policy: for a person to see, not to wait out


class NameTakenError(RetryError):
    """An object that is not ours has the name of one that is to be."""


class NoAddressError(RetryError):
    """A pod cannot be called."""


class Executor:
    """Every answer goes into the cache, so that the next plan sees what this one did."""

    def __init__(self, cluster: Cluster, cache: Cache, poller: Poller, recorder: Recorder) -> None:
        self._cluster = cluster
        self._cache = cache
        self._poller = poller
        self._recorder = recorder

    async def execute(self, key: Key, deployment: Object, plan: Plan) -> None:
        """Carries a plan out for the VajraDeployment that it was made from.

        Raises RetryError (ApiError, NameTakenError, ControlError, …) when a part could not be done: the plan is to be
        made anew. What follows a failed write is not tried; a pod that does not take a call holds nothing up.
        """
        await self._write_status(key, deployment, plan.status)
        unanswered: list[RetryError] = []
        for action in plan.actions:
            if isinstance(action, Drain | UpdateConfig):
                try:
                    await self._call(key, action)
                except RetryError as error:
                    unanswered.append(error)
            else:
                try:
                    await self._write(key, deployment, action)
                except (ApiError, NameTakenError) as error:
                    await self._tell(deployment, action, error)
                    raise
        if unanswered:
            raise unanswered[0]

    async def _write_status(self, key: Key, deployment: Object, status: Mapping[str, Any]) -> None:
        """Only what differs, and only over the version that was planned on: counters in it must not go back."""
        wanted = json.loads(json.dumps(status))  # tuples are lists on the wire
        changes = merge_patch(deployment.get("status", {}), wanted)
        if not changes:
            return
        patch = {"metadata": {"resourceVersion": deployment["metadata"]["resourceVersion"]}, "status": changes}
        try:
            self._cache.store(await self._cluster.merge(VAJRA_DEPLOYMENT, *key, patch, "status"))
        except ApiError as error:
            if error.status == 409:
                self._cache.store(await self._cluster.get(VAJRA_DEPLOYMENT, *key))
            raise

    async def _write(self, key: Key, deployment: Object, action: Apply | Create | Delete | Event) -> None:
        match action:
            case Apply(manifest):
                await self._apply(key, manifest)
            case Create(manifest):
                await self._create(key, manifest)
            case Delete():
                await self._delete(key, action)
            case Event():
                await self._recorder.record(deployment, action)

    async def _tell(self, deployment: Object, action: Action, error: ApiError | NameTakenError) -> None:
        """Posts an event on a failure that will not pass by itself."""
        if isinstance(error, NameTakenError) or error.status in _REFUSED:
            await self._recorder.record(deployment, Event(f"Failed{type(action).__name__}", str(error), warning=True))

    async def _call(self, key: Key, action: Drain | UpdateConfig) -> None:
        uid, address = self._address(key, action.pod)
        match action:
            case Drain(pod, grace_seconds):
                log.info("%s: drain pod %s, at most %d s", key, pod, grace_seconds)
                with waiting():
                    await replicas.drain(pod, address, grace_seconds)
            case UpdateConfig(pod, generation, spec):
                log.info("%s: set pod %s to generation %d", key, pod, generation)
                with waiting():
                    await replicas.update_config(pod, address, generation, spec)
        self._poller.ask_soon(uid)

    async def _apply(self, key: Key, manifest: Mapping[str, Any]) -> None:
        kind, name = kind_of(manifest), manifest["metadata"]["name"]
        log.info("%s: apply %s %s", key, kind.name, name)
        if self._cache.child(key, kind, name) is None:  # applying would take over what a user has made under this name
            try:
                await self._take(key, kind, name)
            except ApiError as error:
                if error.status != 404:
                    raise
        self._cache.store(await self._cluster.apply(kind, key.namespace, manifest))

    async def _create(self, key: Key, manifest: Mapping[str, Any]) -> None:
        kind, name = kind_of(manifest), manifest["metadata"]["name"]
        log.info("%s: create %s %s", key, kind.name, name)
        try:
            self._cache.store(await self._cluster.create(kind, key.namespace, manifest))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._take(key, kind, name)

    async def _take(self, key: Key, kind: Kind, name: str) -> None:
        """Reads an object that the cache lacks. Raises ApiError, or NameTakenError when it is not this deployment's."""
        found = await self._cluster.get(kind, key.namespace, name)
        if found["metadata"].get("labels", {}).get(LABEL) != key.name:
            raise NameTakenError(
                f"{kind.name} {name} exists and does not belong to VajraDeployment {key.name}: it lacks the label "
                f"{LABEL}={key.name}; delete it, or give the VajraDeployment another name"
            )
        self._cache.store(found)

    async def _delete(self, key: Key, action: Delete) -> None:
        kind = kind_named(action.kind)
        log.info("%s: delete %s %s", key, kind.name, action.name)
        try:
            answer = await self._cluster.delete(kind, key.namespace, action.name, action.uid, action.grace_seconds)
        except ApiError as error:
            if error.status not in (404, 409):  # 409: the name belongs to a younger object
                raise
            self._cache.drop(kind, key.namespace, action.name, action.uid)
            return
        if answer["kind"] == kind.name:  # it goes in its own time; else it is gone
            self._cache.store(answer)
        else:
            self._cache.drop(kind, key.namespace, action.name, action.uid)

    def _address(self, key: Key, pod: str) -> tuple[str, str]:
        """The pod's UID and where its process listens."""
        found = self._cache.child(key, POD, pod)
        address = found.get("status", {}).get("podIP") if found else None
        if found is None or not address:
            raise NoAddressError(f"pod {pod} has no address" if found else f"there is no pod {pod}")
        return found["metadata"]["uid"], address


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The JSON merge patch (RFC 7396) that turns `old` into `new`; empty when they are equal.

    None counts as absent in both. Lists are replaced whole.
    """
    patch: Object = {name: None for name in old if old[name] is not None and new.get(name) is None}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_patch(before, value):
                patch[name] = inner
        elif value is not None and value != before:
            patch[name] = value
    return patch

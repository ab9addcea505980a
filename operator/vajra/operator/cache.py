"""What is known of the cluster: every VajraDeployment and what belongs to it, in its newest version seen.

Versions come from three sides: watches, lists, and the answers to our own writes. The newest wins, so a plan always
sees what the plan before it did. Kopf's indices are not used: they keep what was deleted while a watch was down.

Objects are kept as JSON: as Python objects they would take four times the memory, and could be changed by a reader.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vajra.operator.cluster import Object
from vajra.operator.kinds import CHILDREN, LABEL, POD, VAJRA_DEPLOYMENT, Kind
from vajra.operator.planning.drift import FIELD_MANAGER

_GRAVE_SECONDS = 600.0  # longer than a list or a write is under way


class Key(NamedTuple):
    """Names a VajraDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Pod(NamedTuple):
    """What is asked of a pod without looking into it. address: its IP, empty until it has one and once it has ended."""

    key: Key
    name: str
    uid: str
    node: str
    address: str
    ready: bool


class _Name(NamedTuple):
    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class _Entry:
    key: Key
    uid: str
    version: int
    data: bytes
    pod: Pod | None
    told: int = 0  # the newest version whose key was given out as news
    delivered: int = 0  # the newest version that a watch brought
    awaited: float = 0.0  # since when a newer one is known


class _Grave(NamedTuple):
    """Versions up to this one are of a time before the object went, or stopped being ours."""

    version: int
    since: float


class Cache:
    """The newest versions seen. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[_Name, _Entry]] = {kind.name: {} for kind in (VAJRA_DEPLOYMENT, *CHILDREN)}
        self._children: dict[Key, set[_Name]] = defaultdict(set)
        self._graves: dict[str, _Grave] = {}  # by UID

    def deployment(self, key: Key) -> Object | None:
        """The VajraDeployment itself."""
        entry = self._find(_Name(VAJRA_DEPLOYMENT.name, *key))
        return None if entry is None else _load(entry)

    def children(self, key: Key) -> list[Object]:
        """What belongs to it, in the order of kinds and names."""
        return [_load(self._kinds[name.kind][name]) for name in sorted(self._children.get(key, ()))]

    def child(self, key: Key, kind: Kind, name: str) -> Object | None:
        """One thing that belongs to it."""
        entry = self._find(_Name(kind.name, key.namespace, name))
        return None if entry is None or entry.key != key else _load(entry)

    def deployments(self) -> list[Key]:
        """The VajraDeployments there are."""
        return [entry.key for entry in self._kinds[VAJRA_DEPLOYMENT.name].values()]

    def versions(self) -> dict[Key, int]:
        """The VajraDeployments there are, each with the version that `deployment` gives."""
        return {entry.key: entry.version for entry in self._kinds[VAJRA_DEPLOYMENT.name].values()}

    def pods(self) -> Iterator[Pod]:
        """The pods of all VajraDeployments."""
        return (entry.pod for entry in self._kinds[POD.name].values() if entry.pod is not None)

    def observe(self, item: Mapping[str, Any]) -> set[Key]:
        """Takes what a watch brought; the keys that it is news for: also of a version that a write's answer showed."""
        changed = self._tell(item)
        entry, version = self._find(_name(item)), _version(item)
        if entry is not None and entry.uid == item["metadata"]["uid"] and version > entry.delivered:
            entry.delivered = version
            entry.awaited = 0.0 if version >= entry.version else time.monotonic()
        return changed

    def observe_gone(self, item: Mapping[str, Any]) -> set[Key]:
        """Takes what a watch said is deleted, or lost the label that makes it ours; the keys that it is news for."""
        return self._drop(_name(item), item["metadata"]["uid"], _version(item))

    def store(self, item: Mapping[str, Any]) -> None:
        """Takes the answer to a read or write of our own."""
        self._put(item)

    def drop(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Takes note that the object with this UID is gone for good."""
        self._drop(_Name(kind.name, namespace, name), uid, sys.maxsize)

    def store_page(self, items: Iterable[Mapping[str, Any]]) -> set[Key]:
        """Takes a part of a list; the keys that it is news for."""
        changed: set[Key] = set()
        for item in items:
            changed |= self._tell(item)
        return changed

    def prune(self, kind: Kind, namespace: str | None, listed: Container[tuple[str, str]], version: int) -> set[Key]:
        """Forgets what a full list (of a namespace, or of all) lacked, unless it is younger than the list.

        listed: the (namespace, name) of all that was in it; version: the list's. Returns the keys that it is news for.
        """
        now = time.monotonic()
        self._graves = {uid: grave for uid, grave in self._graves.items() if now - grave.since < _GRAVE_SECONDS}
        changed: set[Key] = set()
        for name, entry in list(self._kinds[kind.name].items()):
            if namespace in (None, name.namespace) and (name.namespace, name.name) not in listed:
                changed |= self._drop(name, entry.uid, version)
        return changed

    def is_delivered(self, item: Mapping[str, Any]) -> bool:
        """Whether a watch has brought the object before, in this version or another."""
        entry = self._find(_name(item))
        return entry is not None and entry.uid == item["metadata"]["uid"] and entry.delivered > 0

    def overdue(self, seconds: float) -> list[str]:
        """Kinds whose watch has not brought, for so long, a version that is known otherwise: it is dead."""
        limit = time.monotonic() - seconds
        return [
            kind
            for kind, entries in self._kinds.items()
            if any(0.0 < entry.awaited < limit for entry in entries.values())
        ]

    def _find(self, name: _Name) -> _Entry | None:
        return self._kinds[name.kind].get(name)

    def _tell(self, item: Mapping[str, Any]) -> set[Key]:
        """Puts what is not the answer to a write of our own. That is news too when its version was known from one."""
        changed = self._put(item)
        entry, version = self._find(_name(item)), _version(item)
        if entry is not None and entry.uid == item["metadata"]["uid"] and version > entry.told:
            entry.told = version
            changed.add(entry.key)
        return changed

    def _put(self, item: Mapping[str, Any]) -> set[Key]:
        """The keys of whom it has changed what is known."""
        name, uid, version = _name(item), item["metadata"]["uid"], _version(item)
        old, grave = self._find(name), self._graves.get(uid)
        if (old is not None and old.version >= version) or (grave is not None and grave.version >= version):
            return set()
        key = _key(item)
        if key is None:  # it is ours no more
            return set() if old is None else self._drop(name, old.uid, version)
        same = old is not None and old.uid == uid
        entry = _Entry(key, uid, version, _dump(item), _pod(key, item) if name.kind == POD.name else None)
        if old is not None and same:
            entry.told, entry.delivered, entry.awaited = old.told, old.delivered, old.awaited
        entry.awaited = entry.awaited or time.monotonic()
        changed = {key}
        if old is not None and old.key != key:
            self._children[old.key].discard(name)
            changed.add(old.key)
        self._kinds[name.kind][name] = entry
        if name.kind != VAJRA_DEPLOYMENT.name:
            self._children[key].add(name)
        return changed

    def _drop(self, name: _Name, uid: str, version: int) -> set[Key]:
        self._graves[uid] = _Grave(version, time.monotonic())
        entry = self._find(name)
        if entry is None or entry.uid != uid or entry.version > version:
            return set()
        del self._kinds[name.kind][name]
        self._children[entry.key].discard(name)
        if not self._children[entry.key]:
            del self._children[entry.key]
        return {entry.key}


def _name(item: Mapping[str, Any]) -> _Name:
    meta = item["metadata"]
    return _Name(item["kind"], meta["namespace"], meta["name"])


def _version(item: Mapping[str, Any]) -> int:
    return int(item["metadata"]["resourceVersion"])


def _key(item: Mapping[str, Any]) -> Key | None:
    meta = item["metadata"]
    if item["kind"] == VAJRA_DEPLOYMENT.name:
        return Key(meta["namespace"], meta["name"])
    owner = meta.get("labels", {}).get(LABEL)
    return None if owner is None else Key(meta["namespace"], owner)


def _pod(key: Key, item: Mapping[str, Any]) -> Pod:
    status = item.get("status", {})
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", ())}
    return Pod(
        key=key,
        name=item["metadata"]["name"],
        uid=item["metadata"]["uid"],
        node=item["spec"].get("nodeName", ""),
        address=status.get("podIP", "") if status.get("phase") == "Running" else "",
        ready=conditions.get("Ready") == "True",
    )


def _dump(item: Mapping[str, Any]) -> bytes:
    """As JSON, of managed fields only those that are ours: others' are the larger half of many an object."""
    meta = item["metadata"]
    ours = [entry for entry in meta.get("managedFields", ()) if entry.get("manager") == FIELD_MANAGER]
    return json.dumps({**item, "metadata": {**meta, "managedFields": ours}}, separators=(",", ":")).encode()


def _load(entry: _Entry) -> Object:
    loaded: Object = json.loads(entry.data)
    return loaded

"""What the operator will do: its own planner, run on a copy of what is there, in a world where all goes well.

In that world a new pod serves at once, one that leaves is gone a moment later, and those that are there stay as they
are. So the order of the acts is the operator's own, and how many replicas there are and serve meanwhile; only which of
several equal ones goes first may be another, for that depends on their load.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from vajra.operator.model import Action, Apply, Create, Delete, Manifest, Observed, Plan, Settings, UpdateConfig
from vajra.operator.planning import clock, names, plan
from vajra.operator.reasons import Reason

MOST_TICKS: Final = 300  # enough for a hundred replicas; more are begun in the same way
_TELLING: Final = (Apply, Create, Delete)
_DEFAULT_IMAGE: Final = "the operator's default"


@dataclass(frozen=True)
class Act:
    """A replica comes or leaves."""

    comes: bool
    replica: int
    revision: str
    pods: int


@dataclass(frozen=True)
class Span:
    """A number before, at its least and most meanwhile, and after."""

    before: int
    least: int
    most: int
    after: int


@dataclass(frozen=True)
class Gateways:
    """Their pods and revision, before and after."""

    pods_before: int
    pods_after: int
    revision_before: str
    revision_after: str


@dataclass(frozen=True)
class Rehearsal:
    """What happens. complete: whether it was played to its end; else the numbers `after` are those so far.

    staying: replicas that keep another revision than the newest in the end; held: why they do.
    """

    acts: tuple[Act, ...]
    replicas: Span
    serving: Span
    gpus: Span
    gateways: Gateways
    complete: bool
    staying: tuple[int, ...]
    held: str


def rehearse(deployment: Manifest, children: Iterable[Manifest], now: float) -> Rehearsal:
    """Plays what follows when a VajraDeployment is so. children: what belongs to it, as the cluster has it."""
    world = _World(copy.deepcopy(dict(deployment)), now)
    for child in children:
        world.objects[child["kind"], child["metadata"]["name"]] = copy.deepcopy(dict(child))
    pods_before, revision_before = world.gateways()
    told: list[Manifest] = []
    acts: list[Act] = []
    complete = False
    for _ in range(MOST_TICKS):
        made = world.plan()
        told.append(made.status)
        acts += world.carry_out(made)
        moved = world.live_on()
        if not (moved or any(isinstance(action, _TELLING) for action in made.actions)):
            complete = True
            break
    pods_after, revision_after = world.gateways()
    update = told[-1].get("updateRevision", "")
    others = sorted(replica for replica, revision in world.revisions().items() if revision != update)
    staying = tuple(others) if complete else ()
    return Rehearsal(
        acts=tuple(acts),
        replicas=_span(told, "replicas"),
        serving=_span(told, "readyReplicas"),
        gpus=_span(told, "gpus"),
        gateways=Gateways(pods_before, pods_after, revision_before, revision_after),
        complete=complete,
        staying=staying,
        held=_held(told[-1]) if staying else "",
    )


@dataclass
class _World:
    deployment: dict[str, Any]
    now: float
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)  # UIDs of pods that were on their way out a moment ago
    uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def plan(self) -> Plan:
        children = list(self.objects.values())
        made = plan(Observed(self.deployment, children, {}, frozenset(), self.now), Settings(self._image()))
        self.deployment["status"] = made.status
        return made

    def carry_out(self, made: Plan) -> list[Act]:
        """Does what was planned. What was told to processes is theirs."""
        return [act for action in made.actions if (act := self._do(action)) is not None]

    def live_on(self) -> bool:
        """A moment passes. Whether anything has changed in it."""
        gone = [key for key, item in self.objects.items() if item["metadata"]["uid"] in self.leaving]
        for key in gone:
            del self.objects[key]
        pods = [item for (kind, _), item in self.objects.items() if kind == "Pod"]
        self.leaving = {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" in pod["metadata"]}
        new = [pod for pod in pods if not pod.get("status")]
        for pod in new:
            pod["status"] = self._serving(pod)
        rolled = self._roll_gateways()
        return bool(gone or self.leaving or new or rolled)

    def gateways(self) -> tuple[int, str]:
        """How many pods and which revision their Deployment asks for; (0, "") where there is none."""
        for (kind, _), item in self.objects.items():
            if kind == "Deployment":
                labels = item["spec"]["template"]["metadata"]["labels"]
                return int(item["spec"].get("replicas", 1)), str(labels.get(names.REVISION, ""))
        return 0, ""

    def revisions(self) -> dict[int, str]:
        """The replicas' revisions."""
        labels = [item["metadata"]["labels"] for (kind, _), item in self.objects.items() if kind == "Pod"]
        return {int(each[names.REPLICA]): each[names.REVISION] for each in labels if names.REPLICA in each}

    def _do(self, action: Action) -> Act | None:
        if isinstance(action, Apply):
            self._put(dict(copy.deepcopy(action.manifest)))
        elif isinstance(action, Create):
            pod = self._put(dict(copy.deepcopy(action.manifest)))
            return _act(pod, comes=True)
        elif isinstance(action, Delete):
            item = self.objects.get((action.kind, action.name))
            if item is None or item["metadata"]["uid"] != action.uid:
                return None
            if action.kind != "Pod":
                del self.objects[action.kind, action.name]
                return None
            fresh = "deletionTimestamp" not in item["metadata"]
            item["metadata"]["deletionTimestamp"] = clock.rfc3339(self.now)
            return _act(item, comes=False) if fresh else None
        elif isinstance(action, UpdateConfig):
            raise AssertionError("nobody reports here, so nobody can be told")
        return None

    def _put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        key = (manifest["kind"], manifest["metadata"]["name"])
        known = self.objects.get(key)
        uid = known["metadata"]["uid"] if known else f"rehearsed-{next(self.uids)}"
        manifest["metadata"] |= {"uid": uid, "creationTimestamp": clock.rfc3339(self.now)}
        self.objects[key] = manifest
        return manifest

    def _serving(self, pod: Manifest) -> dict[str, Any]:
        since = clock.rfc3339(self.now)
        running = {"running": {"startedAt": since}}
        containers = [{"name": each["name"], "state": running, "started": True} for each in pod["spec"]["containers"]]
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        return {"phase": "Running", "containerStatuses": containers, "conditions": [ready]}

    def _roll_gateways(self) -> bool:
        """Does a Deployment's work, in one go: how gateways go over one by one is always the same."""
        deployment = next((item for (kind, _), item in self.objects.items() if kind == "Deployment"), None)
        if deployment is None:
            return False
        template, wanted = deployment["spec"]["template"], deployment["spec"].get("replicas", 1)
        labels = template["metadata"]["labels"]
        pods = {
            key: item
            for key, item in self.objects.items()
            if key[0] == "Pod" and item["metadata"]["labels"].get(names.ROLE) == names.GATEWAY
        }
        revision = labels[names.REVISION]
        right = [key for key, pod in pods.items() if pod["metadata"]["labels"].get(names.REVISION) == revision]
        wrong = [key for key in pods if key not in right[:wanted]]
        for key in wrong:
            del self.objects[key]
        for _ in range(wanted - len(right)):
            name = f"{deployment['metadata']['name']}-rehearsed-{next(self.uids)}"
            self._put({"kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": template["spec"]})
        return bool(wrong) or len(right) < wanted

    def _image(self) -> str:
        """The default that pods were made with; which it is now, only the operator knows, and it changes no act."""
        for (kind, _), item in self.objects.items():
            if kind == "Pod" and names.REPLICA in item["metadata"]["labels"]:
                return str(item["spec"]["containers"][0].get("image", _DEFAULT_IMAGE))
        return _DEFAULT_IMAGE


def _act(pod: Manifest, *, comes: bool) -> Act | None:
    """A replica is told of once: when its leader comes or goes."""
    labels = pod["metadata"]["labels"]
    if labels.get(names.POD) != "0":
        return None
    return Act(comes, int(labels[names.REPLICA]), labels[names.REVISION], int(labels[names.PODS]))


def _held(status: Manifest) -> str:
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition["reason"] in (Reason.PAUSED, Reason.PARTITIONED):
            return str(condition["message"])
    return "the rollout waits for replicas that do not serve"


def _span(told: list[Manifest], number: str) -> Span:
    values = [status.get(number, 0) for status in told]
    return Span(values[0], min(values), max(values), values[-1])

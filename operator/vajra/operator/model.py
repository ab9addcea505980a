"""What the planner sees and says: the contract between its pure half and the half that talks to the cluster.

Manifests are plain dicts as the API server gives and takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Manifest = Mapping[str, Any]


class Stage(NamedTuple):
    """One stage of a process's start. progress: from 0 to 1; seconds: how long it took, or takes so far."""

    name: str
    seconds: float
    progress: float = 1.0


@dataclass(frozen=True)
class Report:
    """What a pod's process said of itself over control.v1 (`GetStatusResponse`), as plain values.

    phase: Starting, Serving, Draining or Failed. worker_restarts: of all its workers together. stages: in order.
    notices: lines that a user should know. config_refused: it has failed, for it does not serve such a configuration.
    """

    phase: str
    revision: str = ""
    generation: int = 0
    running: int = 0
    waiting: int = 0
    worker_restarts: int = 0
    kv_blocks: int = 0
    block_size: int = 0
    max_batch_size: int = 0
    stages: Sequence[Stage] = ()
    message: str = ""
    notices: Sequence[str] = ()
    config_refused: bool = False


@dataclass(frozen=True)
class Observed:
    """One VajraDeployment and all that belongs to it, read at one time.

    deployment: the object itself, with the server's defaults. children: every object with its label, of all kinds, with
    kind and apiVersion and, of managedFields, at least the operator's own.
    reports: by pod name, of pods that answered lately; never of an earlier
    pod with that name. nodes_down: names of nodes that are not ready.
    now: seconds since the epoch.
    """

    deployment: Manifest
    children: Sequence[Manifest]
    reports: Mapping[str, Report]
    nodes_down: frozenset[str]
    now: float


@dataclass(frozen=True)
class Settings:
    """What the operator was started with.

    replica_image: for pods whose spec names none. operator_namespace: from where replicas may be called.
    """

    replica_image: str
    operator_namespace: str = "vajra-system"
    image_pull_policy: str = "IfNotPresent"


@dataclass(frozen=True)
class Apply:
    """Server-side apply of what we own of an object."""

    manifest: Manifest


@dataclass(frozen=True)
class Create:
    """Creation of a pod; that it exists already is no error."""

    manifest: Manifest


@dataclass(frozen=True)
class Delete:
    """Deletion of exactly the object with this UID; that it is gone is no error."""

    kind: str
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Drain:
    """control.v1 Drain of a pod's process: it takes nothing new and finishes what it has.

    Planned only of pods that answered lately. A Delete of the pod follows, which does the same more slowly; so a call
    that fails stops nothing.
    """

    pod: str
    grace_seconds: int


@dataclass(frozen=True)
class UpdateConfig:
    """control.v1 UpdateConfig of a pod's process. spec: the whole one that the pod should run.

    Planned only of pods that answered lately, and again until a report shows the generation; so a call that fails
    stops nothing.
    """

    pod: str
    generation: int
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """An event on the VajraDeployment. `warning`: else Normal."""

    reason: str
    message: str
    warning: bool = False


Action = Apply | Create | Delete | Drain | UpdateConfig | Event


@dataclass(frozen=True)
class Plan:
    """What to do, in order: `status` first, when it differs from what is stored, then `actions`.

    requeue_after: seconds until the plan must be made again although nothing has changed; None: no need.
    """

    status: Manifest
    actions: Sequence[Action] = field(default=())
    requeue_after: float | None = None

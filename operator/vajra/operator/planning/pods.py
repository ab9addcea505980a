"""What is read off an observed pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from vajra.operator.model import Manifest
from vajra.operator.planning import clock, names
from vajra.operator.reasons import Fault

OURS: Final = (names.WORKER, names.GATEWAY)  # a user's container without a probe counts as started when it runs
EXIT_CONFIG_REFUSED: Final = 2  # of our processes: they do not serve such a configuration
EXIT_GAVE_UP: Final = 3  # its workers cannot be kept alive, or the model not be loaded


@dataclass(frozen=True)
class End:
    """How a pod ended, and when, as far as is known."""

    fault: Fault
    message: str
    time: str = ""


@dataclass(frozen=True)
class Pod:
    """A pod of a replica or a gateway.

    started: the startup probe of our container in it has passed. Times are seconds since the epoch.
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    created: float
    node: str
    node_down: bool
    deleting: bool
    ready_since: float | None
    started: bool
    end: End | None
    manifest: Manifest

    @property
    def ready(self) -> bool:
        """Whether it can be reached and says that it serves."""
        return self.ready_since is not None and not (self.node_down or self.end)

    @property
    def alive(self) -> bool:
        """Whether its processes may be running, as far as can be seen."""
        return self.end is None and not self.node_down

    @property
    def unschedulable(self) -> bool:
        """Whether the scheduler has found no node for it."""
        return self.condition("PodScheduled").get("status") == "False"

    @property
    def replica(self) -> int:
        """Index of its replica."""
        return int(self.labels[names.REPLICA])

    @property
    def index(self) -> int:
        """Its index in the replica; 0 leads."""
        return int(self.labels[names.POD])

    @property
    def revision(self) -> str:
        """Name of the revision that it runs."""
        return self.labels.get(names.REVISION, "")

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        """Status of its containers, those that run first included."""
        status = self.manifest.get("status", {})
        return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]

    def condition(self, kind: str) -> Mapping[str, Any]:
        """A condition of the pod; empty when it is not there."""
        return condition(self.manifest, kind)


def pod_of(manifest: Manifest, nodes_down: Set[str]) -> Pod:
    """Reads a pod that carries our labels."""
    meta, status = manifest["metadata"], manifest.get("status", {})
    node = manifest.get("spec", {}).get("nodeName", "")
    ready = condition(manifest, "Ready")
    containers = status.get("containerStatuses", ())
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        labels=meta["labels"],
        created=clock.seconds(meta["creationTimestamp"]),
        node=node,
        node_down=node in nodes_down,
        deleting="deletionTimestamp" in meta,
        ready_since=clock.seconds(ready["lastTransitionTime"]) if ready.get("status") == "True" else None,
        started=any(container.get("started") and container["name"] in OURS for container in containers),
        end=_end(status, manifest.get("spec", {}).get("restartPolicy") == "Never"),
        manifest=manifest,
    )


def condition(manifest: Manifest, kind: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it is not there."""
    found: Sequence[Mapping[str, Any]] = manifest.get("status", {}).get("conditions", ())
    return next((each for each in found if each["type"] == kind), {})


def _end(status: Mapping[str, Any], for_good: bool) -> End | None:
    """Where ends are `for_good`, that of one container is that of the pod; what the worker says goes first."""
    over = status.get("phase") in ("Failed", "Succeeded")
    if not over and not for_good:
        return None
    if over and status.get("reason"):
        return End(Fault.POD_REJECTED, ": ".join(filter(None, (status["reason"], status.get("message")))))
    exits = _exits(status.get("containerStatuses", ()))
    if not exits and over:
        exits = [exit for exit in _exits(status.get("initContainerStatuses", ())) if exit[1].get("exitCode")]
    if not exits:
        return End(Fault.POD_REJECTED, "the pod ended before its processes began") if over else None
    name, last = min(exits, key=lambda exit: (exit[0] != names.WORKER, exit[1].get("finishedAt") or ""))
    fault, message = _cause(name, last)
    return End(fault, message, last.get("finishedAt") or "")


def _exits(containers: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    states = ((container["name"], container.get("state", {})) for container in containers)
    return [(name, state["terminated"]) for name, state in states if "terminated" in state]


def _cause(container: str, last: Mapping[str, Any]) -> tuple[Fault, str]:
    said, code = last.get("message", "").strip(), last.get("exitCode", 0)
    text = f"container {container} ended with status {code}" + (f": {said}" if said else "")
    if last.get("reason") == "OOMKilled":
        return Fault.OUT_OF_MEMORY, f"container {container} needed more memory than its limit (resources.memory)"
    if container == names.WORKER and code == EXIT_CONFIG_REFUSED:
        return Fault.CONFIG_REFUSED, said or text
    if container == names.WORKER and code == EXIT_GAVE_UP:
        return Fault.REPLICA_FAILED, said or text
    return Fault.PROCESS_ENDED, text

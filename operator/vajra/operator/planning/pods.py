"""What is read off an observed pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from vajra.operator.model import Manifest
from vajra.operator.planning import clock, names
from vajra.operator.reasons import Fault

EXIT_CONFIG_REFUSED: Final = 2  # of the replica's process: it does not serve such a configuration
EXIT_GAVE_UP: Final = 3  # its workers cannot be kept alive, or the model not be loaded


@dataclass(frozen=True)
class End:
    """How a pod ended."""

    fault: Fault
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod of a replica or a gateway. started: its startup probe has passed; times are seconds since the epoch."""

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
        started=any(container.get("started") for container in containers),
        end=_end(status),
        manifest=manifest,
    )


def condition(manifest: Manifest, kind: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it is not there."""
    found: Sequence[Mapping[str, Any]] = manifest.get("status", {}).get("conditions", ())
    return next((each for each in found if each["type"] == kind), {})


def _end(status: Mapping[str, Any]) -> End | None:
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    exits = [
        (container["name"], state["terminated"])
        for container in status.get("containerStatuses", ())
        if "terminated" in (state := container.get("state", {}))
    ]
    if status.get("reason") or not exits:
        said = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
        return End(Fault.POD_REJECTED, said or "the pod ended before its processes began")
    # What ended first pulled the others along.
    name, last = min(exits, key=lambda each: (each[1].get("finishedAt") or "", each[0] != names.WORKER))
    said = last.get("message", "").strip()
    code = last.get("exitCode", 0)
    text = f"container {name} ended with status {code}" + (f": {said}" if said else "")
    if last.get("reason") == "OOMKilled":
        return End(Fault.OUT_OF_MEMORY, f"container {name} needed more memory than resources.memory gives it")
    if name == names.WORKER and code == EXIT_CONFIG_REFUSED:
        return End(Fault.CONFIG_REFUSED, said or text)
    if name == names.WORKER and code == EXIT_GAVE_UP:
        return End(Fault.REPLICA_FAILED, said or text)
    return End(Fault.PROCESS_ENDED, text)

"""A group: the pods of one replica, and where it is in its life."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from vajra.operator.model import Report
from vajra.operator.planning import names
from vajra.operator.planning.pods import End, Pod
from vajra.operator.reasons import Fault


class State(Enum):
    """Where a group is in its life; of several the first that holds."""

    LEAVING = "leaving"  # a part of it is going or gone, so all of it has to
    FAILED = "failed"
    INCOMPLETE = "incomplete"  # not all of its pods have been created
    STARTING = "starting"  # or down for a while
    READY = "ready"


@dataclass(frozen=True)
class Group:
    """The observed pods of one replica, in the order of their indices, and what they reported."""

    replica: int
    revision: str
    size: int  # pods that it has when it is whole
    pods: tuple[Pod, ...]
    reports: Mapping[str, Report]

    @property
    def leader(self) -> Pod | None:
        """The pod that schedules, if it is there."""
        return self.pods[0] if self.pods[0].index == 0 else None

    @property
    def report(self) -> Report | None:
        """What the leader said lately."""
        return self.reports.get(self.leader.name) if self.leader else None

    @functools.cached_property
    def state(self) -> State:
        """Where it is in its life."""
        missing = len(self.pods) < self.size
        if any(pod.deleting for pod in self.pods) or self._says("Draining"):
            return State.LEAVING
        if self.end is not None:
            return State.FAILED
        if missing:
            # Ranks that have met do not let a newcomer in.
            return State.LEAVING if any(pod.started for pod in self.pods) else State.INCOMPLETE
        return State.READY if all(pod.ready for pod in self.pods) else State.STARTING

    @property
    def end(self) -> End | None:
        """How the first of its pods to end did so, if one has; or what the leader said when it gave up."""
        report = self.report
        if (pod := self._first_ended) is not None:
            return pod.end
        if report is not None and report.phase == "Failed":
            return End(Fault.CONFIG_REFUSED if report.config_refused else Fault.REPLICA_FAILED, report.message)
        return None

    @property
    def ended_pod(self) -> Pod:
        """The pod that `end` speaks of."""
        return self._first_ended or self.pods[0]

    @property
    def _first_ended(self) -> Pod | None:
        """A refusal says more than the ends that follow from it."""
        ends = [
            (pod.end.fault is not Fault.CONFIG_REFUSED, pod.end.time, pod.index, pod) for pod in self.pods if pod.end
        ]
        return min(ends)[-1] if ends else None

    @property
    def lost_pod(self) -> Pod | None:
        """A pod on a node that does not answer."""
        return next((pod for pod in self.pods if pod.node_down), None)

    @property
    def half_placed(self) -> bool:
        """Whether some of its pods hold their places while others find none."""
        return any(pod.node for pod in self.pods) and any(pod.unschedulable for pod in self.pods)

    @property
    def mark(self) -> str:
        """Tells this group from the next one with the same index: deleting it takes this pod last."""
        return self.pods[0].uid

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self.state is State.READY

    @property
    def ready_since(self) -> float | None:
        """Since when all of it has been ready."""
        since = [pod.ready_since for pod in self.pods]
        return max(each for each in since if each is not None) if self.ready and None not in since else None

    @property
    def work(self) -> float:
        """Requests that it has; of one that has not answered, as if it had the most."""
        return math.inf if self.report is None else self.report.running + self.report.waiting

    def _says(self, phase: str) -> bool:
        return self.report is not None and self.report.phase == phase


def groups_of(pods: Iterable[Pod], reports: Mapping[str, Report]) -> dict[int, Group]:
    """The groups by index of the replica, in order."""
    members: dict[int, list[Pod]] = defaultdict(list)
    for pod in pods:
        members[pod.replica].append(pod)
    return {replica: _group(replica, members[replica], reports) for replica in sorted(members)}


def _group(replica: int, pods: list[Pod], reports: Mapping[str, Report]) -> Group:
    pods.sort(key=lambda pod: pod.index)
    size = max(int(pod.labels[names.PODS]) for pod in pods)
    return Group(replica, pods[0].revision, size, tuple(pods), reports)

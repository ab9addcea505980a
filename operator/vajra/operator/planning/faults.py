"""The ladder of faults, with a budget: what has failed, what is done about it, and when to stop.

A replica starts its own workers again. When it gives up, or its process or pod ends, its group is deleted and created
again: at once, then after waits that double. Beyond the budget it stays down, as it fell, for people to look at.

Every fault is counted in status before anything is done about it, and once: the count names the group by one of its
pods (`Group.mark`), so an operator that dies in between does not count it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vajra.config.spec.cluster import RecoverySection
from vajra.operator.model import Manifest
from vajra.operator.planning import clock
from vajra.operator.planning.groups import Group, State
from vajra.operator.planning.pods import End, Pod
from vajra.operator.reasons import Fault, FaultAction


@dataclass(frozen=True)
class Record:
    """What is remembered of one replica's faults, under one revision.

    restarts: faults that asked for a new group. worker_restarts: in place, as its leader last counted them. mark: of
    the group that the last fault was counted for.
    """

    replica: int
    revision: str
    restarts: int = 0
    worker_restarts: int = 0
    last_restart: float = 0.0
    mark: str = ""

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Record:
        """From an entry of status.recovery.groups."""
        last = entry.get("lastRestartTime")
        return cls(
            replica=entry["replica"],
            revision=entry.get("revision", ""),
            restarts=entry.get("restarts", 0),
            worker_restarts=entry.get("workerRestarts", 0),
            last_restart=clock.seconds(last) if last else 0.0,
            mark=entry.get("podUID", ""),
        )

    def written(self) -> dict[str, Any]:
        """The inverse of `read`."""
        entry: dict[str, Any] = {"replica": self.replica, "revision": self.revision, "restarts": self.restarts}
        entry["workerRestarts"] = self.worker_restarts
        if self.last_restart:
            entry["lastRestartTime"] = clock.rfc3339(self.last_restart)
        if self.mark:
            entry["podUID"] = self.mark
        return entry

    @property
    def blank(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.restarts or self.worker_restarts or self.mark)


@dataclass(frozen=True)
class Ladder:
    """Where every replica stands on the ladder.

    restarting: whose group must be deleted to be created again. stopped: whose group stays down.
    """

    records: Mapping[int, Record]
    worker_restarts: int
    group_restarts: int
    last_fault: Mapping[str, Any]
    restarting: frozenset[int]
    stopped: frozenset[int]

    def has_counted(self, group: Group) -> bool:
        """Whether the group has failed, also when the pod that it was counted by is gone already."""
        record = self.records.get(group.replica)
        return record is not None and record.last_restart > max(pod.created for pod in group.pods)

    def written(self, keep: frozenset[int]) -> dict[str, Any]:
        """status.recovery, with the records of these replicas."""
        recovery: dict[str, Any] = {"workerRestarts": self.worker_restarts, "groupRestarts": self.group_restarts}
        if groups := [record.written() for replica, record in sorted(self.records.items()) if replica in keep]:
            recovery["groups"] = groups
        if self.last_fault:
            recovery["lastFault"] = dict(self.last_fault)
        return recovery


def climb(groups: Mapping[int, Group], stored: Manifest, limits: RecoverySection, now: float) -> Ladder:
    """The ladder after what is seen now. `stored` is status.recovery as it was."""
    climbing = _Climb(stored, limits, now)
    for group in groups.values():
        climbing.take(group)
    return climbing.done(groups)


def wait_ends(record: Record, limits: RecoverySection) -> float:
    """When a group that has failed may be created again."""
    if record.restarts < 2:
        return record.last_restart
    doubled = limits.backoff_base_seconds << min(record.restarts - 2, 31)  # more than any limit needs
    return record.last_restart + min(doubled, limits.backoff_max_seconds)


def cleared_at(group: Group, limits: RecoverySection) -> float | None:
    """When a group that goes on serving has a clean record again; None when it does not serve."""
    return None if group.ready_since is None else group.ready_since + limits.backoff_max_seconds


class _Climb:
    def __init__(self, stored: Manifest, limits: RecoverySection, now: float) -> None:
        self._limits = limits
        self._now = now
        self._records = {entry["replica"]: Record.read(entry) for entry in stored.get("groups", ())}
        self._worker_restarts = stored.get("workerRestarts", 0)
        self._group_restarts = stored.get("groupRestarts", 0)
        self._last: Mapping[str, Any] = stored.get("lastFault", {})

    def take(self, group: Group) -> None:
        record = self._records.get(group.replica)
        if record is None or record.revision != group.revision:
            record = Record(group.replica, group.revision)
        if group.state is State.READY:
            record = self._cleared(group, record)
        record = self._workers(group, record)
        if group.state is State.FAILED:
            record = self._failed(group, record)
        elif group.state is State.LEAVING and group.lost_pod is not None:
            record = self._lost(group, group.lost_pod, record)
        self._records[group.replica] = record

    def done(self, groups: Mapping[int, Group]) -> Ladder:
        failed = {replica: group for replica, group in groups.items() if group.state is State.FAILED}
        stopped = frozenset(replica for replica, group in failed.items() if self._is_stopped(group))
        records = {replica: record for replica, record in self._records.items() if not record.blank}
        return Ladder(
            records,
            self._worker_restarts,
            self._group_restarts,
            self._last,
            frozenset(failed) - stopped,
            stopped,
        )

    def _cleared(self, group: Group, record: Record) -> Record:
        cleared = cleared_at(group, self._limits)
        if cleared is not None and self._now >= cleared:
            return replace(record, restarts=0, last_restart=0.0, mark="")
        return record

    def _workers(self, group: Group, record: Record) -> Record:
        if group.report is None or record.mark == group.mark:  # the last words of a group that has been counted
            return record
        if group.report.worker_restarts == record.worker_restarts:
            return record
        count = group.report.worker_restarts
        more = count - record.worker_restarts if count > record.worker_restarts else count  # a new process counts anew
        if more:
            self._worker_restarts += more
            message = group.report.message or "a worker ended and was started again"
            self._fault(Fault.WORKER_FAILED, FaultAction.RESTARTED_WORKERS, group.pods[0], message)
        return replace(record, worker_restarts=count)

    def _failed(self, group: Group, record: Record) -> Record:
        if record.mark == group.mark:
            return record
        end = group.end
        assert end is not None
        record = replace(
            record, restarts=record.restarts + 1, worker_restarts=0, last_restart=self._now, mark=group.mark
        )
        if record.restarts > self._budget(end):
            self._fault(end.fault, FaultAction.STOPPED, group.ended_pod, end.message)
            return record
        self._group_restarts += 1
        self._fault(end.fault, FaultAction.RECREATED, group.ended_pod, end.message)
        return record

    def _lost(self, group: Group, pod: Pod, record: Record) -> Record:
        """No fault of the replica's own: its budget stays. Counted by the lost pod, for the others may end first."""
        if record.mark in {each.uid for each in group.pods}:
            return record
        self._group_restarts += 1
        self._fault(Fault.NODE_LOST, FaultAction.RECREATED, pod, f"node {pod.node} does not answer")
        return replace(record, worker_restarts=0, mark=pod.uid)

    def _is_stopped(self, group: Group) -> bool:
        assert group.end is not None
        return self._records[group.replica].restarts > self._budget(group.end)

    def _budget(self, end: End) -> int:
        """A configuration that is refused is tried once more: the files that hold it may have been late."""
        limit = self._limits.group_restart_limit
        return min(limit, 1) if end.fault is Fault.CONFIG_REFUSED else limit

    def _fault(self, fault: Fault, action: FaultAction, pod: Pod, message: str) -> None:
        self._last = {
            "reason": fault.value,
            "time": clock.rfc3339(self._now),
            "replica": pod.replica,
            "action": action.value,
            "message": message or "no reason was given",
        }
        if pod.node:
            self._last["nodeName"] = pod.node

"""How groups go: whole, and the leader first, for the others work for it until it has finished its requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vajra.config.spec.cluster import DrainSection
from vajra.operator.model import Action, Delete, Drain
from vajra.operator.planning.groups import Group
from vajra.operator.planning.pods import Pod

_LAST_WORDS_SECONDS: Final = 15  # from the end of the last request to the end of the process
_IDLE_SECONDS: Final = 10  # for a process that has nothing to finish


def grace_seconds(drain: DrainSection) -> int:
    """How long a process may take to end after SIGTERM."""
    return drain.endpoint_grace_seconds + drain.timeout_seconds + _LAST_WORDS_SECONDS


def leave(group: Group, drain: DrainSection) -> Iterator[Action]:
    """The next step of a group that goes; nothing while it is under way.

    The deletion of the leader is what remembers the decision, and its grace the time that it has.
    """
    leader = group.leader
    if leader is not None and leader.alive:
        if not leader.deleting:
            if group.report is not None and group.report.phase == "Serving":
                yield Drain(leader.name, drain.timeout_seconds)
            yield _delete(leader, grace_seconds(drain))
        return
    yield from remove(group)


def remove(group: Group) -> Iterator[Action]:
    """Deletes a group that has nothing to finish; its first pod, by which it is known, last."""
    for pod in reversed(group.pods):
        if not pod.deleting or pod.node_down:
            yield _delete(pod, _IDLE_SECONDS)


def _delete(pod: Pod, grace: int) -> Delete:
    """A node that does not answer cannot say that a pod has ended: the pod is forgotten."""
    return Delete("Pod", pod.name, pod.uid, 0 if pod.node_down else grace)

"""How many groups there are, which go and which come: scaling, rollout and recovery in one decision.

A slot is a group that stays, or the index of one that waits to be created again after a fault. There are as many slots
as replicas asked for, during a rollout maxSurge more; and never more groups than replicas and maxSurge together, those
included that are still leaving.

Of several groups of which only a part finds nodes, all but the first give their places back, and none is created until
that one is placed as a whole: else each could keep what the others wait for, and none would ever serve.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from vajra.operator.planning.faults import Ladder
from vajra.operator.planning.groups import Group, State
from vajra.operator.planning.rollout import Rollout


@dataclass(frozen=True)
class Creation:
    """A group to create, or to complete."""

    replica: int
    revision: str


@dataclass(frozen=True)
class Fleet:
    """What becomes of the groups.

    leaving: drain and delete. removing: delete, there is nothing to drain. creating: all or the rest of their pods.
    waiting: indices that are created again after a wait. outdated: to be replaced, sooner or later.
    """

    leaving: frozenset[int]
    removing: frozenset[int]
    creating: tuple[Creation, ...]
    waiting: frozenset[int]
    outdated: frozenset[int]


def decide(
    groups: Mapping[int, Group],
    ladder: Ladder,
    rollout: Rollout,
    *,
    wanted: int,
    taken: Set[int],
    wait_over: Callable[[int], bool],
) -> Fleet:
    """The decision. `taken`: indices whose names others hold; `wait_over`: whether an index has waited long enough."""
    leaving = {replica for replica, group in groups.items() if group.state is State.LEAVING}
    half_placed = [replica for replica, group in groups.items() if replica not in leaving and group.half_placed]
    removing = ladder.restarting.union(half_placed[1:])
    staying = {replica: group for replica, group in groups.items() if replica not in leaving | removing}
    waiting = _waiting(groups, ladder, rollout)

    outdated = [group for group in staying.values() if rollout.is_outdated(group)]
    limit = wanted + (rollout.settings.max_surge if outdated else 0)

    # Too many: those that only wait go first.
    excess = max(0, len(staying) + len(waiting) - limit)
    dropped = sorted(waiting, reverse=True)[:excess]
    waiting.difference_update(dropped)
    by_cost = sorted(staying.values(), key=lambda group: _cost_of_losing(group, ladder, rollout))
    goners = by_cost[: excess - len(dropped)]

    # Outdated: as many as may be missing.
    left = [group for group in outdated if group not in goners]
    available = sum(group.ready for group in staying.values() if group not in goners)
    goners += rollout.may_go(left, available, wanted)
    for group in goners:
        del staying[group.replica]
    leaving.update(group.replica for group in goners)

    # Too few: first what is incomplete, then what has waited, then anew.
    creating = [
        Creation(group.replica, group.revision) for group in staying.values() if group.state is State.INCOMPLETE
    ]
    held = any(group.half_placed for group in staying.values())
    room = 0 if held else wanted + rollout.settings.max_surge - len(groups)
    due = [replica for replica in sorted(waiting) if not (replica in groups or replica in taken) and wait_over(replica)]
    creating += [Creation(replica, rollout.target(replica)) for replica in due[: max(0, room)]]
    room -= len(due)
    slots = len(staying) + len(waiting)
    to_stay = slots - sum(rollout.is_outdated(group) for group in staying.values())
    anew = max(0, min(room, limit - slots, wanted - to_stay))
    free = (index for index in itertools.count() if not (index in groups or index in waiting or index in taken))
    creating += [Creation(replica, rollout.target(replica)) for replica in itertools.islice(free, anew)]

    return Fleet(
        frozenset(leaving),
        removing,
        tuple(creating),
        frozenset(waiting),
        frozenset(group.replica for group in outdated),
    )


def _cost_of_losing(group: Group, ladder: Ladder, rollout: Rollout) -> tuple[bool, bool, bool, float, int]:
    """The cheapest goes first: what stays down, what does not serve, the outdated, the least work, the last index."""
    stopped, outdated = group.replica in ladder.stopped, rollout.is_outdated(group)
    return (not stopped, group.ready, not outdated, group.work, -group.replica)


def _waiting(groups: Mapping[int, Group], ladder: Ladder, rollout: Rollout) -> set[int]:
    """Indices whose groups have failed and will come again, with a record of the revision that they would run."""
    failed = {
        replica
        for replica, record in ladder.records.items()
        if replica not in groups and record.restarts and record.revision == rollout.target(replica)
    }
    return failed | ladder.restarting

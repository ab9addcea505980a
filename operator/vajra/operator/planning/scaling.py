"""Which group goes when there are too many, and which index a new one gets."""

from __future__ import annotations

from collections.abc import Container, Iterator

from vajra.operator.planning.groups import Group


def cost_of_losing(group: Group, *, stopped: bool, outdated: bool) -> tuple[bool, bool, bool, float, int]:
    """Sorts groups: first what does not serve, then the outdated, then who has the least work, then the last index."""
    return (not stopped, group.ready, not outdated, group.work, -group.replica)


def free_indices(taken: Container[int]) -> Iterator[int]:
    """Indices for new groups, the lowest first."""
    index = 0
    while True:
        if index not in taken:
            yield index
        index += 1

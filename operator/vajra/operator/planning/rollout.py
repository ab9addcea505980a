"""Which revision a replica should run, and which groups of another may go now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vajra.config.spec.cluster import RolloutSection
from vajra.operator.planning.groups import Group


@dataclass(frozen=True)
class Rollout:
    """From one revision to another. current: that of before; the same as update when nothing is under way."""

    settings: RolloutSection
    update: str
    current: str

    @property
    def held(self) -> bool:
        """Whether replicas may be meant to stay at the current revision."""
        return self.settings.paused or self.settings.partition > 0

    def target(self, replica: int) -> str:
        """The revision of a new group with this index."""
        stays = self.settings.paused or replica < self.settings.partition
        return self.current if stays else self.update

    def is_outdated(self, group: Group) -> bool:
        """Whether it runs another revision than it should and may be replaced."""
        return not self.settings.paused and group.revision != self.target(group.replica)

    def may_go(self, outdated: Sequence[Group], available: int, wanted: int) -> list[Group]:
        """The outdated groups that go now, of so many available in all.

        One that does not serve goes at once: a broken revision never bars the way out of it.
        """
        going = [group for group in outdated if not group.ready]
        spare = available - (wanted - self.settings.max_unavailable)
        serving = sorted((group for group in outdated if group.ready), key=lambda group: (group.work, -group.replica))
        return going + serving[: max(0, spare)]

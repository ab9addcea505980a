"""The gateways as observed, and when they go over to another revision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vajra.operator.model import Manifest
from vajra.operator.planning.groups import Group
from vajra.operator.planning.objects.gateway import observed_template
from vajra.operator.planning.pods import Pod
from vajra.operator.planning.rollout import Rollout


@dataclass(frozen=True)
class Gateways:
    """Their Deployment, if it is there, and their pods."""

    deployment: Manifest | None
    pods: tuple[Pod, ...]

    @property
    def revision(self) -> str | None:
        """The revision that they run or go over to; None before there are any."""
        return None if self.deployment is None else observed_template(self.deployment)[0]

    @property
    def staying(self) -> tuple[Pod, ...]:
        """Pods that are not on their way out."""
        return tuple(pod for pod in self.pods if pod.alive and not pod.deleting)

    @property
    def gone(self) -> bool:
        """Whether none is left that may have requests under way."""
        return not any(pod.alive for pod in self.pods)

    @property
    def available(self) -> bool:
        """Whether one answers."""
        return any(pod.ready for pod in self.staying)

    def run_only(self, revision: str) -> bool:
        """Whether one of this revision answers and none of another is left."""
        return self.available and all(pod.revision == revision for pod in self.staying)

    def go_over(self, groups: Iterable[Group], rollout: Rollout) -> bool:
        """Whether they should run the update revision: once as many replicas serve it as serve another.

        So they stay with the replicas that work when the new ones do not; and while none serves, with those that are
        held back.
        """
        if self.revision in (None, rollout.update):
            return True
        serving = [group.revision == rollout.update for group in groups if group.ready]
        return 2 * sum(serving) >= len(serving) if serving else not rollout.held

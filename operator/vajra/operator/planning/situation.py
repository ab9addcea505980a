"""Everything that status is made of, once all is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vajra.config import VajraDeploymentSpec
from vajra.operator.model import Manifest, Report
from vajra.operator.planning import clock
from vajra.operator.planning.acceptance import Acceptance
from vajra.operator.planning.faults import Ladder
from vajra.operator.planning.fleet import Fleet
from vajra.operator.planning.gateways import Gateways
from vajra.operator.planning.groups import Group, State
from vajra.operator.planning.live import Acknowledgement
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.rollout import Rollout


@dataclass(frozen=True)
class Situation:
    """What is seen and what was decided.

    spec: the one in force, which is the last accepted one where the newest is not accepted. specs: of the revisions
    that are kept and can be read. wanted: replicas, 0 while suspended. stored: status as it was.
    """

    owner: Owner
    stored: Manifest
    generation: int
    time: float
    acceptance: Acceptance
    spec: VajraDeploymentSpec
    live_generation: int
    revisions: Sequence[Mapping[str, Any]]
    specs: Mapping[str, VajraDeploymentSpec]
    wanted: int
    groups: Mapping[int, Group]
    reports: Mapping[str, Report]
    ladder: Ladder
    fleet: Fleet
    rollout: Rollout
    gateways: Gateways
    acknowledgement: Acknowledgement

    @property
    def accepted(self) -> bool:
        """Whether the newest spec is the one in force."""
        return self.acceptance.deployment is not None

    @property
    def gpu_resource(self) -> str:
        """What GPUs are called."""
        return self.spec.resources.gpu_resource_name

    @property
    def serving(self) -> int:
        """Replicas that serve."""
        return sum(group.ready for group in self.groups.values())

    @property
    def serving_update(self) -> int:
        """Replicas of the update revision that serve."""
        return sum(group.ready and group.revision == self.rollout.update for group in self.groups.values())

    @property
    def coming_back(self) -> frozenset[int]:
        """Replicas that have failed and are not created again yet."""
        going = (
            group.replica
            for group in self.groups.values()
            if group.state is State.LEAVING and group.lost_pod is None and self.ladder.has_counted(group)
        )
        return self.fleet.waiting.union(going)

    @property
    def complete(self) -> bool:
        """Whether all replicas asked for serve the update revision and there are no others."""
        only = all(group.revision == self.rollout.update for group in self.groups.values())
        return only and self.serving_update >= self.wanted

    @property
    def current_revision(self) -> str | None:
        """The revision that was last rolled out completely; None before the first was."""
        return self.rollout.update if self.complete else self.stored.get("currentRevision")

    @property
    def rolling(self) -> bool:
        """Whether a rollout is under way."""
        return self.current_revision != self.rollout.update or any(
            group.revision != self.rollout.update for group in self.groups.values()
        )

    @property
    def progress_deadline(self) -> float:
        """When a rollout without progress has failed: counted from its beginning, and from each replica's readiness."""
        began = clock.seconds(self.revisions[-1]["createdTime"])
        ready = [group.ready_since for group in self.groups.values() if group.revision == self.rollout.update]
        last = max([began, *(since for since in ready if since is not None)])
        return last + self.spec.rollout.progress_deadline_seconds

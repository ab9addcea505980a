"""The plan: from everything observed of one VajraDeployment to what must be done, in order, and its status."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vajra.config import VajraDeployment, VajraDeploymentSpec
from vajra.operator.model import Action, Create, Manifest, Observed, Plan, Settings
from vajra.operator.planning import names
from vajra.operator.planning.acceptance import Acceptance, accept
from vajra.operator.planning.children import Children, children_of
from vajra.operator.planning.conditions import refused
from vajra.operator.planning.desired import Desired, changes
from vajra.operator.planning.faults import cleared_at, climb, wait_ends
from vajra.operator.planning.fleet import Fleet, decide
from vajra.operator.planning.gateways import Gateways
from vajra.operator.planning.groups import groups_of
from vajra.operator.planning.history import History, Live, files, parse, read_history, recorded, revision_spec
from vajra.operator.planning.layout import layout_of
from vajra.operator.planning.leaving import leave, remove
from vajra.operator.planning.live import acknowledgement, updates
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.objects.pods import PodSettings, replica_pod
from vajra.operator.planning.pods import Pod
from vajra.operator.planning.revision import revision_of
from vajra.operator.planning.rollout import Rollout
from vajra.operator.planning.situation import Situation
from vajra.operator.planning.status import events, status_of


def plan(observed: Observed, settings: Settings) -> Plan:
    """What to do for one VajraDeployment now. The same observation gives the same plan.

    Actions are ordered so that whatever stops between two of them, the next plan goes on from there: what pods need
    before pods, deletions before creations, and the live settings' file before anyone is told of it.
    """
    meta, stored = observed.deployment["metadata"], observed.deployment.get("status", {})
    if "deletionTimestamp" in meta:
        return Plan(stored)  # all the rest has owner references
    owner = Owner(meta["name"], meta["namespace"], meta["uid"])
    children = children_of(observed, owner)
    history = read_history(children.objects.get(("ConfigMap", names.config_map(owner.name))))
    acceptance = accept(owner.name, observed.deployment["spec"])
    in_force = _in_force(owner.name, meta["generation"], acceptance, history.live)
    if in_force is None:
        status = _refused_status(owner, observed, children, acceptance)
        return Plan(status, tuple(events(stored, status)))
    return _Planning(observed, settings, owner, children, history, acceptance, *in_force).plan()


def _in_force(
    name: str, generation: int, acceptance: Acceptance, live: Live | None
) -> tuple[VajraDeployment, Live] | None:
    """The newest spec, or the last that was accepted: what runs goes on by it."""
    if acceptance.deployment is not None:
        return acceptance.deployment, Live(generation, acceptance.deployment.to_dict()["spec"])
    before = accept(name, live.spec).deployment if live is not None else None
    return None if before is None or live is None else (before, live)


def _refused_status(owner: Owner, observed: Observed, children: Children, acceptance: Acceptance) -> dict[str, Any]:
    """Nothing is known by which pods could be made, or those that there are be judged."""
    stored, generation = observed.deployment.get("status", {}), observed.deployment["metadata"]["generation"]
    return {
        **stored,
        "observedGeneration": generation,
        "replicas": len({pod.replica for pod in children.replica_pods}),
        "selector": names.leader_selector(owner.name),
        "conditions": refused(acceptance, stored, generation, observed.now),
    }


@dataclass(frozen=True)
class _Revisions:
    """raw: the kept revisions' specs as they are written. specs: those that can be read."""

    update: PodSettings
    rollout: Rollout
    records: list[dict[str, Any]]
    raw: Mapping[str, Mapping[str, Any]]
    specs: Mapping[str, VajraDeploymentSpec]


class _Planning:
    """One plan under way; every attribute is a step that later ones build on."""

    def __init__(
        self,
        observed: Observed,
        settings: Settings,
        owner: Owner,
        children: Children,
        history: History,
        acceptance: Acceptance,
        deployment: VajraDeployment,
        live: Live,
    ) -> None:
        self.observed = observed
        self.settings = settings
        self.owner = owner
        self.children = children
        self.acceptance = acceptance
        self.spec = deployment.spec
        self.live = live
        self.stored: Manifest = observed.deployment.get("status", {})
        self.gateways = _gateways(owner, children)
        self.groups = groups_of(children.replica_pods, observed.reports)
        self.revisions = self._revisions(history)
        self.wanted = 0 if self.spec.suspend else self.spec.replicas
        self.ladder = climb(self.groups, self.stored.get("recovery", {}), self.spec.recovery, observed.now)
        self.fleet = self._fleet()

    def plan(self) -> Plan:
        situation = self._situation()
        status = status_of(situation)
        actions = (
            *self._object_changes(),
            *self._departures(),
            *self._creations(),
            *updates(self._pods(), self.observed.reports, self.spec, self.live.generation, self.revisions.raw),
            *events(self.stored, status),
        )
        return Plan(status, actions, self._requeue_after(situation))

    def _revisions(self, history: History) -> _Revisions:
        revision = revision_of(self.spec)
        name = revision.name
        image = self.spec.image or history.image(name) or self.settings.replica_image
        in_use = {pod.revision for pod in (*self.children.replica_pods, *self.children.gateway_pods)}
        in_use |= {self.stored.get("currentRevision", name), self.gateways.revision or name}
        records = recorded(
            self.stored.get("revisions", []),
            revision,
            self.live.generation,
            self.observed.now,
            limit=self.spec.rollout.revision_history_limit,
            in_use=in_use,
        )
        kept = in_use | {record["name"] for record in records}
        raw = {key: spec for key, spec in history.specs.items() if key in kept}
        raw[name] = revision_spec(self.spec, image)
        read = {key: parse(self.owner.name, spec) for key, spec in raw.items()}
        specs = {key: spec for key, spec in read.items() if spec is not None}
        current = self.stored.get("currentRevision", name)
        rollout = Rollout(self.spec.rollout, update=name, current=current if current in specs else name)
        return _Revisions(self._pod_settings(name, image), rollout, records, raw, specs)

    def _fleet(self) -> Fleet:
        wanted, rollout = self.wanted, self.revisions.rollout
        if not wanted and not self.gateways.gone:
            # Gateways first: what they have taken needs the replicas that serve. Nothing new is begun for them.
            wanted = sum(group.ready for group in self.groups.values())
            rollout = replace(rollout, settings=replace(rollout.settings, paused=True))

        def wait_over(replica: int) -> bool:
            record = self.ladder.records[replica]
            return self.observed.now >= wait_ends(record, self.spec.recovery)

        return decide(
            self.groups,
            self.ladder,
            rollout,
            wanted=wanted,
            taken=self.children.taken,
            wait_over=wait_over,
        )

    def _object_changes(self) -> Iterator[Action]:
        layout = layout_of(self.spec)
        wide = {group.replica for group in self.groups.values() if group.size > 1}
        for creation in self.fleet.creating:
            spec = self.revisions.specs.get(creation.revision)
            if spec is not None and layout_of(spec).pods > 1:
                wide.add(creation.replica)
        desired = Desired(
            self.owner,
            self.spec,
            self.revisions.update,
            self.settings.operator_namespace,
            files(self.owner.name, self.revisions.raw, self.live),
            serves=self.wanted > 0,
            min_available=max(0, self.wanted - len(self.ladder.stopped) - 1) * layout.pods,
            wide=frozenset(wide),
            go_over=self.gateways.go_over(self.groups.values(), self.revisions.rollout),
        )
        return changes(desired, self.gateways, self.children.objects)

    def _departures(self) -> Iterator[Action]:
        for replica, group in self.groups.items():
            if replica in self.fleet.removing:
                yield from remove(group)
            elif replica in self.fleet.leaving:
                yield from leave(group, self.spec.drain)

    def _creations(self) -> Iterator[Create]:
        for creation in self.fleet.creating:
            spec = self.revisions.specs.get(creation.revision)
            if spec is None:
                continue
            image = spec.image or self.settings.replica_image
            settings = self._pod_settings(creation.revision, image)
            there = self.groups.get(creation.replica)
            present = {pod.index for pod in there.pods} if there else set()
            for index in range(layout_of(spec).pods):
                if index not in present:
                    yield Create(replica_pod(self.owner, spec, settings, creation.replica, index))

    def _pod_settings(self, revision: str, image: str) -> PodSettings:
        return PodSettings(revision, image, self.settings.image_pull_policy, self.spec.drain)

    def _pods(self) -> Iterator[Pod]:
        yield from self.children.replica_pods
        yield from self.children.gateway_pods

    def _situation(self) -> Situation:
        return Situation(
            owner=self.owner,
            stored=self.stored,
            generation=self.observed.deployment["metadata"]["generation"],
            time=self.observed.now,
            acceptance=self.acceptance,
            spec=self.spec,
            live_generation=self.live.generation,
            revisions=self.revisions.records,
            specs=self.revisions.specs,
            wanted=self.wanted,
            groups=self.groups,
            reports=self.observed.reports,
            ladder=self.ladder,
            fleet=self.fleet,
            rollout=self.revisions.rollout,
            gateways=self.gateways,
            acknowledgement=acknowledgement(
                self._pods(), self.observed.reports, self.live.generation, self.observed.now
            ),
        )

    def _requeue_after(self, situation: Situation) -> float | None:
        """Until the next moment that only the clock brings."""
        recovery = self.spec.recovery
        moments = [wait_ends(self.ladder.records[replica], recovery) for replica in self.fleet.waiting]
        for replica, group in self.groups.items():
            record = self.ladder.records.get(replica)
            if record is not None and record.restarts and (cleared := cleared_at(group, recovery)) is not None:
                moments.append(cleared)
        if situation.rolling:
            moments.append(situation.progress_deadline)
        moments.append(situation.acknowledgement.silent_at)
        later = [moment - self.observed.now for moment in moments if self.observed.now < moment < math.inf]
        return min(later) if later else None


def _gateways(owner: Owner, children: Children) -> Gateways:
    deployment = children.objects.get(("Deployment", names.gateway(owner.name)))
    return Gateways(deployment, children.gateway_pods)

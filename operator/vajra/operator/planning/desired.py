"""The objects that should be there beside the replicas' pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vajra.config import VajraDeploymentSpec
from vajra.operator.model import Action, Apply, Delete, Manifest
from vajra.operator.planning.drift import differs
from vajra.operator.planning.gateways import Gateways
from vajra.operator.planning.objects.config_map import config_map
from vajra.operator.planning.objects.disruption import gateway_budget, replica_budget
from vajra.operator.planning.objects.gateway import (
    REPLICAS,
    gateway_deployment,
    gateway_template,
    layout_of_template,
    observed_template,
)
from vajra.operator.planning.objects.network_policy import group_policy, replica_policy
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.objects.pods import PodSettings
from vajra.operator.planning.objects.service_account import service_account
from vajra.operator.planning.objects.services import client_service, leader_service, rank_service


@dataclass(frozen=True)
class Desired:
    """What the objects are made from.

    files: the ConfigMap's. serves: whether there are to be gateways. min_available: pods of replicas that must stay
    ready when one is evicted. wide: indices of replicas of several pods. go_over: whether the gateways should run this
    revision.
    """

    owner: Owner
    spec: VajraDeploymentSpec
    settings: PodSettings
    operator_namespace: str
    files: Mapping[str, str]
    serves: bool
    min_available: int
    wide: frozenset[int]
    go_over: bool


def changes(desired: Desired, gateways: Gateways, observed: Mapping[tuple[str, str], Manifest]) -> Iterator[Action]:
    """What must be applied or deleted for the objects to be as desired."""
    wanted = {(each["kind"], each["metadata"]["name"]): each for each in _objects(desired, gateways)}
    for key, manifest in wanted.items():
        if key not in observed or differs(manifest, observed[key]):
            yield Apply(manifest)
    for (kind, name), found in observed.items():
        if kind == "NetworkPolicy" and (kind, name) not in wanted and desired.owner.owns(found):
            yield Delete(kind, name, found["metadata"]["uid"])


def _objects(desired: Desired, gateways: Gateways) -> Iterator[dict[str, Any]]:
    """In the order in which they are needed."""
    owner, spec = desired.owner, desired.spec
    yield service_account(owner)
    yield config_map(owner, desired.files)
    yield leader_service(owner)
    yield rank_service(owner)
    yield client_service(owner, spec.networking)
    if spec.networking.network_policy == "Enabled":
        fetches = spec.model.source.type in ("HuggingFace", "Embedded")
        yield replica_policy(owner, desired.operator_namespace, fetches=fetches)
        for replica in sorted(desired.wide):
            yield group_policy(owner, replica)
    yield replica_budget(owner, desired.min_available)
    yield gateway_budget(owner)
    yield _gateway(desired, gateways)


def _gateway(desired: Desired, gateways: Gateways) -> dict[str, Any]:
    replicas = REPLICAS if desired.serves else 0
    template = gateway_template(desired.owner, desired.spec, desired.settings)
    if gateways.deployment is not None:
        revision, layout, found = observed_template(gateways.deployment)
        same = revision == desired.settings.revision
        if not desired.go_over or (same and layout != layout_of_template(template)):
            return gateway_deployment(desired.owner, found, replicas, layout)
    return gateway_deployment(desired.owner, template, replicas)

"""The pods of a replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vajra.config import VajraDeploymentSpec
from vajra.config.spec.cluster import DrainSection
from vajra.operator.planning import names
from vajra.operator.planning.layout import Layout, layout_of
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.objects.pod_spec import container, environment, pod_spec
from vajra.operator.planning.objects.volumes import profile_path, worker_volumes
from vajra.operator.planning.pod_template import merge_template

_HOST: Final = "kubernetes.io/hostname"


@dataclass(frozen=True)
class PodSettings:
    """What a pod is made of beside the spec of its revision."""

    revision: str
    image: str
    pull_policy: str
    drain: DrainSection


def replica_pod(
    owner: Owner, spec: VajraDeploymentSpec, settings: PodSettings, replica: int, index: int
) -> dict[str, Any]:
    """Pod `index` of a replica; pod 0 also schedules."""
    layout = layout_of(spec)
    name = names.pod(owner.name, replica, index)
    labels = {
        names.REPLICA: str(replica),
        names.POD: str(index),
        names.PODS: str(layout.pods),
        names.REVISION: settings.revision,
        names.ROLE: names.FOLLOWER if index else names.LEADER,
    }
    command = ["python", "-m", "vajra.replica", "--config-dir", names.CONFIG_MOUNT]
    command += ["--listen", f"0.0.0.0:{names.CONTROL_PORT}", "--replica-index", str(replica)]
    worker = container(
        names.WORKER,
        settings.image,
        settings.pull_policy,
        command,
        {"control": names.CONTROL_PORT},
        [
            *environment(spec, settings.revision),
            *_profile_environment(spec),
            *_group_environment(owner.name, layout, replica, index),
        ],
    )
    worker |= {"resources": resources} if (resources := _resources(spec, layout)) else {}
    body = pod_spec(owner.name, spec, settings.drain, worker, worker_volumes(owner.name, spec))
    body |= {
        "hostname": name,
        "subdomain": names.ranks(owner.name),
        "restartPolicy": "Never",  # a replica that ends is the fault ladder's to start again, or not
        **_placement(owner.name, spec, layout, replica),
        **_claims(spec),
    }
    pod = {"metadata": {"labels": labels}, "spec": body}
    merged = merge_template(pod, spec.pod_template, names.WORKER)
    metadata = owner.metadata(name, names.REPLICA_COMPONENT, merged["metadata"]["labels"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**merged["metadata"], **metadata},
        "spec": merged["spec"],
    }


def _profile_environment(spec: VajraDeploymentSpec) -> list[dict[str, Any]]:
    path = profile_path(spec.scheduler.profile)
    return [] if path is None else [{"name": "VAJRA_PROFILE", "value": path}]


def _group_environment(name: str, layout: Layout, replica: int, index: int) -> list[dict[str, Any]]:
    """Who this pod is among the ranks, and where the leader is."""
    ranks = layout.ranks(index)
    leader = f"{names.pod(name, replica, 0)}.{names.ranks(name)}:{names.CONTROL_PORT}"
    values = {
        "VAJRA_WORLD_SIZE": str(layout.world_size),
        "VAJRA_RANKS": ",".join(map(str, ranks)),
        "VAJRA_LEADER": leader,
    }
    return [{"name": key, "value": value} for key, value in values.items()]


def _resources(spec: VajraDeploymentSpec, layout: Layout) -> dict[str, Any]:
    """Requests and limits are the same, but of a GPU, which has only a limit."""
    resources = spec.resources
    amounts: dict[str, Any] = {
        key: value for key, value in (("cpu", resources.cpu), ("memory", resources.memory)) if value is not None
    }
    limits = dict(amounts)
    built: dict[str, Any] = {}
    if resources.accelerator.type == "GPU":
        if resources.claim_template_name is None:
            limits[resources.gpu_resource_name] = layout.ranks_per_pod
        else:
            built["claims"] = [{"name": "gpus"}]
    if amounts:
        built["requests"] = amounts
    if limits:
        built["limits"] = limits
    return built


def _claims(spec: VajraDeploymentSpec) -> dict[str, Any]:
    template = spec.resources.claim_template_name
    return {} if template is None else {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": template}]}


def _placement(name: str, spec: VajraDeploymentSpec, layout: Layout, replica: int) -> dict[str, Any]:
    """The pods of one replica close to one another; replicas apart, so that a lost node takes few of them."""
    placement: dict[str, Any] = {}
    if topology := spec.placement.topology:
        group = {"matchLabels": {names.DEPLOYMENT: name, names.REPLICA: str(replica)}}
        affinity: dict[str, Any] = {}
        if topology.required_key is not None:
            term = {"labelSelector": group, "topologyKey": topology.required_key}
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = [term]
        if topology.preferred_key is not None:
            term = {"labelSelector": group, "topologyKey": topology.preferred_key}
            affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 100, "podAffinityTerm": term}]
        placement["affinity"] = {"podAffinity": affinity}
    if layout.pods == 1:
        placement["topologySpreadConstraints"] = [spread(names.component_selector(name, names.REPLICA_COMPONENT))]
    return placement


def spread(selector: Mapping[str, str]) -> dict[str, Any]:
    """Over machines, where there is a choice."""
    return {
        "maxSkew": 1,
        "topologyKey": _HOST,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }

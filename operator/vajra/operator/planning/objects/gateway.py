"""The gateways' Deployment.

Its pods roll when their template changes, so the template changes with the revision alone: an annotation names the
layout that an operator made, and a new operator that would lay out the same revision otherwise, or one that reads
another drain time, leaves the template as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vajra.config import VajraDeploymentSpec
from vajra.operator.model import Manifest
from vajra.operator.planning import names
from vajra.operator.planning.canonical import digest
from vajra.operator.planning.objects.owner import Owner
from vajra.operator.planning.objects.pod_spec import container, environment, pod_spec
from vajra.operator.planning.objects.pods import PodSettings, spread
from vajra.operator.planning.objects.volumes import gateway_volumes
from vajra.operator.planning.pod_template import merge_template

REPLICAS: Final = 2  # so that one may go
_REQUESTS: Final = {"cpu": "100m", "memory": "256Mi"}
# A variable, not an argument: an image that does not know it serves on without.
_METRICS: Final = {"name": "VAJRA_METRICS", "value": f"0.0.0.0:{names.METRICS_PORT}"}
_API_KEYS: Final = {"name": "VAJRA_API_KEYS_FILE", "value": f"{names.API_KEYS_MOUNT}/{names.API_KEYS_FILE}"}


def gateway_template(owner: Owner, spec: VajraDeploymentSpec, settings: PodSettings) -> dict[str, Any]:
    """The template of the gateways' pods."""
    networking = spec.networking
    ports = {"grpc": networking.grpc_port, "control": names.CONTROL_PORT, "metrics": names.METRICS_PORT}
    if networking.open_ai_port is not None:
        ports["openai"] = networking.open_ai_port
    command = ["python", "-m", "vajra.gateway", "--config-dir", names.CONFIG_MOUNT]
    command += ["--replicas", f"{names.leaders(owner.name)}:{names.CONTROL_PORT}"]
    command += ["--control", f"0.0.0.0:{names.CONTROL_PORT}"]
    variables = [*environment(spec, settings.revision), _METRICS]
    if networking.api_keys_secret_ref is not None:
        variables.append(_API_KEYS)
    gateway = container(
        names.GATEWAY,
        settings.image,
        settings.pull_policy,
        command,
        ports,
        variables,
    )
    gateway["resources"] = {"requests": dict(_REQUESTS)}
    body = pod_spec(owner.name, spec, settings.drain, gateway, gateway_volumes(owner.name, spec))
    apart = spread(names.component_selector(owner.name, names.GATEWAY))
    body["topologySpreadConstraints"] = [{**apart, "matchLabelKeys": ["pod-template-hash"]}]  # in a rollout, too
    labels = {
        **names.labels(owner.name, names.GATEWAY),
        names.ROLE: names.GATEWAY,
        names.REVISION: settings.revision,
    }
    return merge_template({"metadata": {"labels": labels}, "spec": body}, spec.pod_template, names.GATEWAY)


def gateway_deployment(owner: Owner, template: Mapping[str, Any], replicas: int, layout: str = "") -> dict[str, Any]:
    """The Deployment. layout: of a template that was laid out before; else this one's own."""
    selector = names.component_selector(owner.name, names.GATEWAY)
    metadata = owner.metadata(names.gateway(owner.name), names.GATEWAY)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "annotations": {names.LAYOUT: layout or layout_of_template(template)}},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": dict(template),
        },
    }


def layout_of_template(template: Mapping[str, Any]) -> str:
    """Names a template."""
    return digest(template)[:12]


def observed_template(deployment: Manifest) -> tuple[str, str, dict[str, Any]]:
    """Revision, layout and template of an observed Deployment, as they can be applied again."""
    template = deployment["spec"]["template"]
    metadata = {key: value for key, value in template["metadata"].items() if value is not None}
    revision = metadata.get("labels", {}).get(names.REVISION, "")
    layout = deployment["metadata"].get("annotations", {}).get(names.LAYOUT, "")
    return revision, layout, {**template, "metadata": metadata}

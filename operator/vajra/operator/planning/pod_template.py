"""Merging spec.podTemplate into the pods we lay out: maps by key, named lists by name, the user's word last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vajra.config import ConfigError
from vajra.operator.planning import names

# Lists whose items have a name of their own; all other lists are replaced as a whole.
_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "claims": "name",
    "hostAliases": "ip",
}
_CONTAINERS: Final = ("containers", "initContainers")
_JOINED: Final = ("tolerations", "envFrom")  # lists of which every item counts by itself
_OURS: Final = {
    "terminationGracePeriodSeconds": "it follows from drain.timeoutSeconds: set that",
    "restartPolicy": "the operator starts replicas again: see recovery",
    "hostname": "ranks find one another by it",
    "subdomain": "ranks find one another by it",
}
_ROLES: Final = frozenset({names.GATEWAY, names.WORKER})
_OUR_LABELS: Final = frozenset(names.labels("", ""))


def template_faults(template: Mapping[str, Any] | None) -> Iterator[ConfigError]:
    """What in a podTemplate would contradict the operator."""
    path, template = "spec.podTemplate", template or {}
    for key, why in _OURS.items():
        if key in template.get("spec", {}):
            value = template["spec"][key]
            yield ConfigError(f"{path}.spec.{key}", value, "leave it out", why, problem="belongs to the operator")
    for key, value in template.get("metadata", {}).get("labels", {}).items():
        if key in _OUR_LABELS or key.startswith("vajra.ai/"):
            hint = "the operator finds its pods by it"
            yield ConfigError(
                f"{path}.metadata.labels.{key}", value, "another label", hint, problem="is the operator's"
            )


def merge_template(pod: Mapping[str, Any], template: Mapping[str, Any] | None, role: str) -> dict[str, Any]:
    """A pod (metadata and spec) with the template merged in; containers for the other role stay out."""
    if not template:
        return dict(pod)
    others = _ROLES - {role}
    spec = dict(template.get("spec", {}))
    if "containers" in spec:
        spec["containers"] = [each for each in spec["containers"] if each["name"] not in others]
    return _merged(pod, {"metadata": template.get("metadata", {}), "spec": spec})


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in theirs.items():
        if value is None:
            continue
        here = merged.get(key)
        if isinstance(here, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(here, value)
        elif isinstance(here, list) and key in _KEYS:
            merged[key] = _merged_by(key, here, value)
        elif isinstance(here, list) and key in _JOINED:
            merged[key] = [*here, *value]
        else:
            merged[key] = value
    return merged


def _merged_by(name: str, ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any]:
    """Containers are merged; of the rest (a volume, a variable) two kinds of one thing would contradict each other."""
    key = _KEYS[name]
    merged = {each[key]: each for each in ours}
    for each in theirs:
        here = merged.get(each[key], {})
        merged[each[key]] = _merged(here, each) if name in _CONTAINERS else each
    return list(merged.values())

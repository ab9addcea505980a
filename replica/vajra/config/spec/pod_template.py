"""spec.podTemplate: native Kubernetes names, so only its skeleton is checked; a cluster checks the rest itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vajra.config.errors import MISSING, ConfigError, did_you_mean


def pod_template_faults(template: Mapping[str, Any] | None, path: str) -> Iterator[ConfigError]:
    """What is wrong with the parts that the operator reads: metadata's maps, and containers told apart by name."""
    for key, value in (template or {}).items():
        if key not in ("metadata", "spec"):
            known = ["metadata", "spec"]
            hint = did_you_mean(key, known)
            yield ConfigError(f"{path}.{key}", value, ", ".join(known), hint, problem="no such field")
        elif not isinstance(value, Mapping):
            yield ConfigError(f"{path}.{key}", value, "a mapping")
        elif key == "metadata":
            yield from _metadata_faults(value, f"{path}.metadata")
        else:
            yield from _container_faults(value.get("containers", []), f"{path}.spec.containers")


def _metadata_faults(metadata: Mapping[str, Any], path: str) -> Iterator[ConfigError]:
    known = ("labels", "annotations")
    for key, value in metadata.items():
        if key not in known:
            hint = did_you_mean(key, known)
            yield ConfigError(f"{path}.{key}", value, ", ".join(known), hint, problem="no such field")
        elif not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            yield ConfigError(f"{path}.{key}", value, "a mapping of text to text")


def _container_faults(containers: Any, path: str) -> Iterator[ConfigError]:
    if not isinstance(containers, list):
        yield ConfigError(path, containers, "a list")
        return
    seen: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        name = container.get("name", MISSING) if isinstance(container, Mapping) else MISSING
        if not isinstance(container, Mapping):
            yield ConfigError(here, container, "a mapping with a name")
        elif not isinstance(name, str) or not name:
            yield ConfigError(f"{here}.name", name, "the container's name: gateway, worker or one of your own")
        elif name in seen:
            yield ConfigError(f"{here}.name", name, "a name of its own", problem=f"{name!r} is given twice")
        else:
            seen.add(name)

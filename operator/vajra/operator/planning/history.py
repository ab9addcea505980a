"""The revisions that are kept, and the live settings in force: status.revisions and the ConfigMap's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from vajra.config import API_VERSION, KIND, ConfigError, VajraDeployment, VajraDeploymentSpec
from vajra.operator.model import Manifest
from vajra.operator.planning import clock, names
from vajra.operator.planning.canonical import canonical
from vajra.operator.planning.revision import Revision, recreate_part


@dataclass(frozen=True)
class Live:
    """The whole spec that was accepted last, of which processes take the live settings, and its generation."""

    generation: int
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """What the ConfigMap holds: the spec of every revision by its name, and the live settings."""

    specs: Mapping[str, Mapping[str, Any]]
    live: Live | None

    def image(self, revision: str) -> str | None:
        """The image that a revision's pods have had from its beginning, whatever an operator's default is by now."""
        return self.specs.get(revision, {}).get("image")


def read_history(config_map: Manifest | None) -> History:
    """What an observed ConfigMap holds; what cannot be read is as if it were not there."""
    files = (config_map or {}).get("data", {})
    specs: dict[str, Mapping[str, Any]] = {}
    for key, text in files.items():
        revision = key.removeprefix("revision-").removesuffix(".json")
        if key == names.revision_file(revision) and isinstance(spec := _field(text, "spec"), dict):
            specs[revision] = spec
    live = files.get(names.LIVE_FILE)
    spec, generation = _field(live, "spec"), _field(live, "generation")
    known = isinstance(spec, dict) and isinstance(generation, int)
    return History(specs, Live(generation, spec) if known else None)


def parse(name: str, spec: Mapping[str, Any]) -> VajraDeploymentSpec | None:
    """The spec of a revision; None when this version cannot read it."""
    try:
        return VajraDeployment.from_dict(_manifest(name, spec)).spec
    except ConfigError:
        return None


def revision_spec(spec: VajraDeploymentSpec, image: str) -> dict[str, Any]:
    """What is kept of a spec for its revision, its image pinned."""
    return {**recreate_part(spec), "image": image}


def files(name: str, specs: Mapping[str, Mapping[str, Any]], live: Live) -> dict[str, str]:
    """The ConfigMap's files."""
    written = {names.revision_file(revision): canonical(_manifest(name, spec)) for revision, spec in specs.items()}
    written[names.LIVE_FILE] = canonical({"generation": live.generation, "spec": live.spec})
    return written


def recorded(
    stored: list[dict[str, Any]], revision: Revision, generation: int, now: float, *, limit: int, in_use: Set[str]
) -> list[dict[str, Any]]:
    """status.revisions: the update revision last; of the others those in use, and as many more as may be kept."""
    others = [entry for entry in stored if entry["name"] != revision.name]
    if stored and stored[-1]["name"] == revision.name:
        last = stored[-1]
    else:
        last = {"name": revision.name, "hash": revision.hash, "generation": generation}
        last["createdTime"] = clock.rfc3339(now)
    recent = others[len(others) - limit :] if limit < len(others) else others
    return [entry for entry in others if entry in recent or entry["name"] in in_use] + [last]


def _field(text: str | None, field: str) -> Any:
    try:
        data = json.loads(text or "null")
    except ValueError:
        return None
    return data.get(field) if isinstance(data, dict) else None


def _manifest(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}

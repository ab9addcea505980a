"""The settings that a serving process runs with: where they come from at its start, how they change while it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from vajra.config.changes import changed_fields, updatable_paths, with_live_fields
from vajra.config.deployment import VajraDeployment
from vajra.config.errors import MISSING, ConfigError, ConfigErrors

_LIVE_KEYS = {"generation", "spec"}


class UpdateRefused(Exception):
    """An update that this process cannot take over while it runs; nothing of it was. Says why and what to do."""


class LiveSettings:
    """A deployment as it is in force, and the generation of its live fields."""

    def __init__(self, deployment: VajraDeployment, *, generation: int = 0, revision: str | None = None) -> None:
        self.deployment = deployment
        self.generation = generation
        self._revision = revision

    @classmethod
    def from_folder(cls, folder: Path, revision: str | None) -> Self:
        """From a mounted ConfigMap: the manifest `revision-<revision>.json`, and of `live.json`, where there is one,
        the fields of class Live. `revision` is the value of VAJRA_REVISION. Raises ConfigError."""
        if not revision:
            raise ConfigError("VAJRA_REVISION", MISSING, f"the name of a revision in {folder}: revision-NAME.json")
        path = folder / f"revision-{revision}.json"
        deployment = _deployment(_read(path), path)
        path = folder / "live.json"
        if not path.exists():
            return cls(deployment, revision=revision)
        live = _read(path)
        generation = live.get("generation")
        if live.keys() != _LIVE_KEYS or type(generation) is not int or generation < 0:
            raise ConfigError(path.name, live, '{"generation": an integer, "spec": {…}} and nothing else')
        newer = _deployment(deployment.to_dict() | {"spec": live["spec"]}, path)
        spec = with_live_fields(deployment.spec, newer.spec)
        return cls(VajraDeployment(metadata=deployment.metadata, spec=spec), generation=generation, revision=revision)

    @property
    def revision(self) -> str:
        """The name of the revision that the process was started with; without one, a hash of what is in force."""
        if self._revision is not None:
            return self._revision
        spec = json.dumps(self.deployment.to_dict()["spec"], sort_keys=True)
        return hashlib.sha256(spec.encode()).hexdigest()[:12]

    def update(
        self,
        generation: int,
        spec_json: str,
        prepare: Callable[[VajraDeployment], Callable[[], None]],
        *,
        validate_only: bool = False,
    ) -> None:
        """Puts the settings of a newer generation in force, as one transaction: `prepare` returns what does it, or
        raises UpdateRefused. What is in force already is acknowledged. `validate_only` stops before anything changes.

        Raises ConfigError for a spec that is none, UpdateRefused for one that has to wait for a restart.
        """
        if generation < self.generation:
            raise UpdateRefused(f"generation {generation} is older than {self.generation}, which is in force")
        deployment = VajraDeployment.from_dict(self.deployment.to_dict() | {"spec": _parsed(spec_json, "spec_json")})
        changes = changed_fields(self.deployment.spec, deployment.spec)
        refused = [change.path for change in changes if not change.updatable]
        if refused:
            raise UpdateRefused(
                f"these fields cannot change while the process runs: {', '.join(refused)}; "
                f"live are: {', '.join(updatable_paths())}. Restart it with the new settings."
            )
        if changes and generation == self.generation:
            raise UpdateRefused(
                f"generation {generation} is in force with another value of "
                f"{', '.join(change.path for change in changes)}; a change needs a newer generation"
            )
        commit = prepare(deployment) if changes else None
        if validate_only:
            return
        if commit is not None:
            commit()
        self.deployment, self.generation = deployment, generation


def _deployment(manifest: dict[str, Any], path: Path) -> VajraDeployment:
    try:
        return VajraDeployment.from_dict(manifest)
    except ConfigError as error:
        faults = [fault.below(path.name) for fault in error.errors]
    raise faults[0] if len(faults) == 1 else ConfigErrors(faults)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(str(path), str(path), "", problem=f"cannot be read: {why}") from None
    data = _parsed(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(str(path), data, "a JSON object")
    return data


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(where, text, "", problem=f"is not JSON: {error}") from None

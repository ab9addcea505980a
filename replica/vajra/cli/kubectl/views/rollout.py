"""A rollout: how far it is, which revisions are kept, and the way back to one of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vajra.cli.errors import USAGE, CommandError
from vajra.cli.kubectl.views.pods import replicas
from vajra.cli.kubectl.views.status import condition_of, is_observed
from vajra.config import Change, changed_fields
from vajra.config.table import leaves
from vajra.operator.model import Manifest
from vajra.operator.planning.history import parse, read_history
from vajra.operator.planning.revision import revision_of
from vajra.operator.reasons import Reason


@dataclass(frozen=True)
class ReplicaRevision:
    """What a replica runs."""

    replica: int
    revision: str
    serves: bool


@dataclass(frozen=True)
class RolloutView:
    """How far it is. complete: all replicas serve the newest revision. failed: it has come no further in time."""

    name: str
    namespace: str
    complete: bool
    failed: bool
    reason: str
    message: str
    current_revision: str
    update_revision: str
    fields: Sequence[str]
    replicas: tuple[ReplicaRevision, ...]


@dataclass(frozen=True)
class RevisionView:
    """A revision that is kept. generation: of the spec that it was made for, which tells revisions apart as well.

    use: `asked for`, `rolled out`, or empty. fields: in which it differs from the one before it; None: the ConfigMap
    lacks the file of one of the two.
    """

    generation: int
    name: str
    created: str
    use: str
    image: str
    fields: tuple[str, ...] | None
    spec: Mapping[str, Any] | None


def rollout_view(deployment: Manifest, pods: Iterable[Manifest]) -> RolloutView:
    """How far it is."""
    meta, status = deployment["metadata"], deployment.get("status", {})
    progressing, observed = condition_of(deployment, "Progressing"), is_observed(deployment)
    reason = progressing.get("reason", "")
    return RolloutView(
        name=meta["name"],
        namespace=meta["namespace"],
        complete=observed and reason == Reason.COMPLETE,
        failed=observed and reason == Reason.PROGRESS_DEADLINE_EXCEEDED,
        reason=reason if observed else "Unseen",
        message=progressing.get("message", "") if observed else "no operator has seen the newest spec yet",
        current_revision=status.get("currentRevision", ""),
        update_revision=status.get("updateRevision", ""),
        fields=status.get("pendingChange", {}).get("fields", []),
        replicas=tuple(ReplicaRevision(each.replica, each.revision, each.serves) for each in replicas(pods, status)),
    )


def history(deployment: Manifest, config_map: Manifest | None) -> list[RevisionView]:
    """The kept revisions, the newest first."""
    name, status = deployment["metadata"]["name"], deployment.get("status", {})
    specs = read_history(config_map).specs
    views: list[RevisionView] = []
    before: Mapping[str, Any] | None = None
    for number, entry in enumerate(status.get("revisions", [])):
        spec = specs.get(entry["name"])
        views.append(
            RevisionView(
                generation=entry["generation"],
                name=entry["name"],
                created=entry["createdTime"],
                use=_use(entry["name"], status),
                image=(spec or {}).get("image", ""),
                fields=_differences(name, before, spec) if number else (),
                spec=spec,
            )
        )
        before = spec
    return views[::-1]


def chosen(deployment: Manifest, revisions: Sequence[RevisionView], wanted: str | None) -> RevisionView:
    """The revision to go back to: by name or generation; else, out of a rollout, the one before it, and otherwise the
    last but one. Raises CommandError."""
    if not revisions:
        raise CommandError("no revision is kept yet: the operator has not accepted a spec")
    newest = revisions[0]
    if wanted is not None:
        found = named(revisions, wanted)
        if found is None:
            raise not_kept("--to-revision", wanted, revisions)
        if found is newest:
            raise CommandError(f"{found.name} is the revision that is asked for already", USAGE)
        return found
    current = deployment.get("status", {}).get("currentRevision")
    before = [each for each in revisions[1:] if each.name == current] or list(revisions[1:])
    if not before:
        raise CommandError(
            "there is no earlier revision to go back to; rollout.revisionHistoryLimit says how many stay"
        )
    return before[0]


def named(revisions: Iterable[RevisionView], wanted: str) -> RevisionView | None:
    """The revision of this name or generation."""
    return next((each for each in revisions if wanted in (each.name, str(each.generation))), None)


def not_kept(option: str, wanted: str, revisions: Iterable[RevisionView]) -> CommandError:
    """What to say when an option names none of the revisions."""
    kept = ", ".join(f"{each.generation} ({each.name})" for each in revisions)
    return CommandError(f"{option} {wanted}: allowed: {kept}", USAGE)


def way_back(deployment: Manifest, target: RevisionView) -> list[dict[str, Any]]:
    """A JSON patch that brings a revision back and leaves live settings as they are; it fails when the spec is not the
    one of `deployment` any more.

    The revision's file names the image that its pods had. Whether it was asked for or the operator's default, the
    revision's name tells. Raises CommandError when this version cannot bring it back.
    """
    meta = deployment["metadata"]
    if target.spec is None:
        raise CommandError(f"the ConfigMap has no file of {target.name}: apply the earlier manifest instead")
    for source in ({key: value for key, value in target.spec.items() if key != "image"}, target.spec):
        after = _with_recreate_part(deployment["spec"], source)
        parsed = parse(meta["name"], after)
        if parsed is not None and revision_of(parsed).name == target.name:
            same = {"op": "test", "path": "/metadata/generation", "value": meta["generation"]}
            return [same, {"op": "replace", "path": "/spec", "value": after}]
    raise CommandError(
        f"{target.name} cannot be brought back by this version of the command, which reads its spec otherwise than the "
        "operator that kept it: use the operator's version, or apply the earlier manifest"
    )


def _with_recreate_part(spec: Manifest, source: Mapping[str, Any]) -> dict[str, Any]:
    """A spec whose fields of class Recreate are those of another."""
    after = copy.deepcopy(dict(spec))
    for row in leaves():
        if row.change is Change.RECREATE:
            path = row.path.split(".")[1:]
            _put(after, path, _at(source, path))
    return after


def _at(spec: Any, path: Sequence[str]) -> Any:
    for key in path:
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    return spec


def _put(spec: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Sets a field, or takes it away with the sections that become empty."""
    key, *below = path
    if below:
        section = spec.get(key)
        if section is None and value is None:
            return
        spec[key] = section = dict(section or {})
        _put(section, below, value)
        if not section:
            del spec[key]
    elif value is None:
        spec.pop(key, None)
    else:
        spec[key] = value


def _use(revision: str, status: Manifest) -> str:
    uses = {status.get("updateRevision"): "asked for", status.get("currentRevision"): "rolled out"}
    return uses.get(revision, "")


def _differences(name: str, before: Manifest | None, after: Manifest | None) -> tuple[str, ...] | None:
    old, new = (None if spec is None else parse(name, spec) for spec in (before, after))
    if old is None or new is None:
        return None
    return tuple(change.path for change in changed_fields(old, new) if change.change is Change.RECREATE)


def manifest_of(view: RevisionView) -> str:
    """The spec of a revision as JSON, for people to read and to apply."""
    return json.dumps(view.spec, indent=2, sort_keys=True)

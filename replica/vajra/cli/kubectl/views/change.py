"""What a change of a VajraDeployment will do, before it is applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from vajra.cli.kubectl.views.rehearsal import Rehearsal, rehearse
from vajra.config import Change, ChangedField, VajraDeploymentSpec, changed_fields
from vajra.operator.model import Manifest
from vajra.operator.planning import names
from vajra.operator.planning.acceptance import accept
from vajra.operator.planning.history import parse, read_history
from vajra.operator.planning.revision import revision_of

NONE: Final = "None"
CREATE: Final = "Create"
REFUSED: Final = "Refused"


@dataclass(frozen=True)
class FieldChange:
    """A field that differs; None stands for unset. when: how it is taken over."""

    path: str
    impact: str
    old: Any
    new: Any
    when: str


@dataclass(frozen=True)
class ChangeView:
    """The impact of a change.

    impact: None, Live (no pod starts again), Recreate (replicas roll to another revision), Create, or Refused: the API
    server takes the spec and the operator does not, for `message` says why; what runs goes on as it is.
    acts: what happens to replicas, in order; None where nothing does or the operator takes nothing over.
    """

    name: str
    namespace: str
    impact: str
    reason: str
    message: str
    changes: tuple[FieldChange, ...]
    old_revision: str
    new_revision: str
    drain_seconds: int
    rehearsal: Rehearsal | None


def change_view(before: Manifest | None, after: Manifest, children: Iterable[Manifest], now: float) -> ChangeView:
    """The impact. before: the object that is there. after: as the API server would store it, its status with it."""
    meta, children = after["metadata"], list(children)
    name = meta["name"]
    acceptance = accept(name, after["spec"])
    old, new = _in_force(name, before, children), parse(name, after["spec"])
    changes = [] if old is None or new is None else changed_fields(old, new)
    old_revision = "" if old is None else revision_of(old).name
    new_revision = "" if new is None else revision_of(new).name
    if acceptance.deployment is None or new is None:
        impact, rehearsal = REFUSED, None
    elif before is not None and not changes:
        impact, rehearsal = NONE, None
    else:
        impact = CREATE if old is None else Change.LIVE if old_revision == new_revision else Change.RECREATE
        rehearsal = rehearse(after, children, now)
    return ChangeView(
        name=name,
        namespace=meta["namespace"],
        impact=str(impact),
        reason=acceptance.reason.value,
        message=acceptance.message,
        changes=tuple(_field(change) for change in changes),
        old_revision=old_revision,
        new_revision=new_revision,
        drain_seconds=0 if new is None else new.drain.timeout_seconds,
        rehearsal=rehearsal,
    )


def _in_force(name: str, before: Manifest | None, children: Iterable[Manifest]) -> VajraDeploymentSpec | None:
    """The spec that the operator goes by: the one that is there, or where that was not accepted, the last that was."""
    if before is None:
        return None
    if (deployment := accept(name, before["spec"]).deployment) is not None:
        return deployment.spec
    wanted = ("ConfigMap", names.config_map(name))
    files = next((each for each in children if (each["kind"], each["metadata"]["name"]) == wanted), None)
    live = read_history(files).live
    return parse(name, before["spec"] if live is None else live.spec)


def _field(change: ChangedField) -> FieldChange:
    if change.change is Change.RECREATE:
        when = "pods start again"
    elif change.updatable:
        when = "taken over while the pods run"
    else:
        when = "taken over by a pod when it starts"
    return FieldChange(change.path, str(change.change), change.old, change.new, when)

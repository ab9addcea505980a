"""Rollouts and revisions for people."""

from __future__ import annotations

from collections.abc import Sequence

from vajra.cli.kubectl.texts.table import age, table
from vajra.cli.kubectl.views.rollout import ReplicaRevision, RevisionView, RolloutView
from vajra.cli.words import count


def rollout_text(view: RolloutView) -> str:
    """How far a rollout is."""
    state = "complete" if view.complete else f"{view.reason}"
    lines = [f"{view.namespace}/{view.name}  {state}: {view.message}"]
    if view.fields:
        lines.append(f"changed: {', '.join(view.fields)}")
    rows = [(each.replica, each.revision, "yes" if each.serves else "no", _age(view, each)) for each in view.replicas]
    lines += table(("REPLICA", "REVISION", "SERVES", ""), rows)
    return "\n".join(lines)


def history_text(revisions: Sequence[RevisionView], now: float) -> str:
    """The revisions that are kept, newest first."""
    if not revisions:
        return "no revision is kept yet: the operator has not accepted a spec"
    rows = [
        (each.generation, each.name, age(each.created, now), each.use, each.image, _fields(each)) for each in revisions
    ]
    return "\n".join(table(("GENERATION", "REVISION", "AGE", "USE", "IMAGE", "CHANGED"), rows))


def _age(view: RolloutView, replica: ReplicaRevision) -> str:
    if view.complete:
        return ""
    return "new" if replica.revision == view.update_revision else "old"


def _fields(view: RevisionView) -> str:
    if view.fields is None:
        return "unknown"
    shown = ", ".join(view.fields[:3])
    return f"{shown} and {count(len(view.fields) - 3, 'other')}" if len(view.fields) > 3 else shown

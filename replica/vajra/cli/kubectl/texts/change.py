"""The impact of a change for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from vajra.cli.kubectl.texts.table import table
from vajra.cli.kubectl.views.change import CREATE, NONE, REFUSED, ChangeView
from vajra.cli.kubectl.views.rehearsal import Act, Rehearsal, Span
from vajra.cli.words import count
from vajra.config import Change

_MOST_ACTS: Final = 16
_HEADLINES: Final = {
    NONE: "nothing changes",
    Change.LIVE: "Live: no pod starts again",
    Change.RECREATE: "Recreate: replicas roll to another revision",
    CREATE: "Create: it is new",
    REFUSED: "Refused: the API server takes it, the operator does not; what runs goes on as it is",
}


def change_text(view: ChangeView) -> str:
    """One screen."""
    return "\n".join(_lines(view))


def _lines(view: ChangeView) -> Iterator[str]:
    yield f"{view.namespace}/{view.name}  {_headline(view)}"
    if view.impact == REFUSED:
        yield f"  {view.reason}: {view.message}"
    if view.changes:
        rows = [(each.path, each.impact, _value(each.old), _value(each.new), each.when) for each in view.changes]
        yield ""
        yield from table(("FIELD", "CLASS", "FROM", "TO", "WHEN"), rows)
    if view.rehearsal is not None:
        yield ""
        yield from _course(view, view.rehearsal)


def _headline(view: ChangeView) -> str:
    if view.impact == Change.LIVE and view.rehearsal is not None and view.rehearsal.acts:
        return "Live: it takes no other pods, and yet replicas come or leave"
    return _HEADLINES[view.impact]


def _course(view: ChangeView, course: Rehearsal) -> Iterator[str]:
    if view.old_revision != view.new_revision:
        yield f"revision   {view.old_revision or 'none'} → {view.new_revision}"
    else:
        yield f"revision   {view.new_revision} stays"
    yield f"replicas   {_span(course.replicas)}"
    yield f"serving    {_span(course.serving)}"
    if course.gpus.most:
        extra = course.gpus.most - max(course.gpus.before, course.gpus.after)
        yield f"GPUs       {_span(course.gpus)}" + (f": {extra} more meanwhile" if extra else "")
    if not course.acts:
        yield "no replica comes or leaves"
    else:
        yield "in this order, as far as each new replica comes to serve:"
        acts = course.acts[:_MOST_ACTS]
        for number, act in enumerate(acts, 1):
            yield f"  {number:2}  {_act(act, view.drain_seconds)}"
        left = len(course.acts) - len(acts)
        if not course.complete:
            yield f"      … and {left} more, and others, in the same way; the numbers above are of these"
        elif left:
            yield f"      … and {left} more in the same way"
    gateways = course.gateways
    if gateways.pods_before != gateways.pods_after:
        yield f"gateways   {gateways.pods_before} → {gateways.pods_after}"
    elif gateways.revision_before != gateways.revision_after:
        yield f"gateways   {gateways.pods_after}, go over to {gateways.revision_after}, a new one before an old one"
    if course.staying:
        yield f"{count(len(course.staying), 'replica')} of another revision: {course.held}"


def _act(act: Act, drain_seconds: int) -> str:
    if act.comes:
        return f"replica {act.replica} comes with {act.revision} ({count(act.pods, 'pod')})"
    return f"replica {act.replica} leaves ({act.revision}): at most {drain_seconds} s for the requests that it has"


def _span(span: Span) -> str:
    text = str(span.before) if span.before == span.after else f"{span.before} → {span.after}"
    low, high = min(span.before, span.after), max(span.before, span.after)
    meanwhile = [f"at least {span.least}"] if span.least < low else []
    meanwhile += [f"at most {span.most}"] if span.most > high else []
    return f"{text}, meanwhile {' and '.join(meanwhile)}" if meanwhile else text


def _value(value: Any) -> str:
    if value is None:
        return "unset"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 40 else f"{text[:39]}…"

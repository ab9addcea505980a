"""The answer to `why` for people."""

from __future__ import annotations

from collections.abc import Iterator

from vajra.cli.kubectl.texts.table import age
from vajra.cli.kubectl.views.why import WhyView

_MOST_PODS = 8


def why_text(view: WhyView, now: float) -> str:
    """One screen."""
    return "\n".join(_lines(view, now))


def _lines(view: WhyView, now: float) -> Iterator[str]:
    if view.ready:
        since = f" since {age(view.since, now)}" if view.since else ""
        yield f"{view.name} is Ready{since}: {view.message}"
    else:
        yield f"{view.name} is not Ready: {view.reason}" + (f", for {age(view.since, now)}" if view.since else "")
        yield f"  {view.message}"
        yield f"next: {view.next_step}"
        if view.command:
            yield f"  $ {view.command}"
    others = [pod for pod in view.pods if pod.message != view.message]
    if others:
        yield "pods that do not serve:"
        for pod in others[:_MOST_PODS]:
            said = pod.message if pod.message.startswith(f"pod {pod.name}") else f"pod {pod.name}: {pod.message}"
            yield f"  {pod.phase}: {said}" + (f"; last time {pod.last_end}" if pod.last_end else "")
        if len(others) > _MOST_PODS:
            yield f"  and {len(others) - _MOST_PODS} more: kubectl vajra status {view.name}"
    for note in view.notes:
        yield f"note: {note}"

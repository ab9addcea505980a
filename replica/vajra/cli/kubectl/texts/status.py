"""The status for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vajra.cli.kubectl.texts.table import age, facts, table
from vajra.cli.kubectl.views.pods import PodView, ReplicaView
from vajra.cli.kubectl.views.status import Row, StatusView


def status_text(view: StatusView, now: float) -> str:
    """One screen."""
    return "\n".join([*_head(view), "", *_pods(view, now), *_more(view, now)])


def rows_text(rows: Sequence[Row], now: float, *, namespaces: bool) -> str:
    """All VajraDeployments."""
    if not rows:
        return "no VajraDeployments here; -A looks in all namespaces"
    heading = ("NAMESPACE", "NAME", "MODEL", "READY", "UP-TO-DATE", "STATUS", "AGE")
    cells = [(r.namespace, r.name, r.model, r.ready, r.updated, r.status, age(r.created, now)) for r in rows]
    start = 0 if namespaces else 1
    return "\n".join(table(heading[start:], [row[start:] for row in cells]))


def _head(view: StatusView) -> Iterator[str]:
    state = "Ready" if view.ready else f"not Ready: {view.reason}" if view.observed else "not seen by an operator"
    yield f"{view.namespace}/{view.name}  {view.model} on {view.accelerator}  {state}"
    rolling = view.update_revision != view.current_revision
    revision = f"{view.current_revision or 'none'} → {view.update_revision}" if rolling else view.current_revision
    capacity = view.capacity
    yield from facts(
        [
            ("replicas", f"{view.ready_replicas} of {view.wanted_replicas} ready" + _gpus(view)),
            ("revision", revision),
            ("grpc", str(view.endpoint.get("grpc", ""))),
            ("openai", str(view.endpoint.get("openAI", ""))),
            (
                "capacity",
                f"{capacity.get('kvTokens', 0):,} KV tokens and {capacity.get('maxConcurrentSequences', 0)} sequences "
                "per replica"
                if capacity
                else "",
            ),
            ("startup", _startup(view)),
            *((each["type"], f"{each['status']}, {each['reason']}: {each['message']}") for each in view.conditions),
        ],
        indent="  ",
    )


def _gpus(view: StatusView) -> str:
    return f", {view.gpus} GPUs" if view.gpus else ""


def _startup(view: StatusView) -> str:
    if not view.startup:
        return ""
    stages = ", ".join(f"{stage['name']} {stage['seconds']:.1f}" for stage in view.startup.get("stages", []))
    return f"{view.startup.get('totalSeconds', 0):.1f} s ({stages})"


def _pods(view: StatusView, now: float) -> list[str]:
    rows = [_pod(pod, str(replica.replica), replica, now) for replica in view.replicas for pod in replica.pods]
    rows += [_pod(pod, "gateway", None, now) for pod in view.gateways]
    if not rows:
        return ["no pods"]
    heading = ("REPLICA", "POD", "RANKS", "NODE", "REVISION", "PHASE", "RESTARTS", "OF WORKERS", "AGE")
    return table(heading, rows)


def _pod(pod: PodView, where: str, replica: ReplicaView | None, now: float) -> tuple[object, ...]:
    whole, workers = (pod.restarts, "") if replica is None else (replica.restarts, replica.worker_restarts)
    return (where, pod.name, pod.ranks, pod.node, pod.revision, pod.phase, whole, workers, age(pod.created, now))


def _more(view: StatusView, now: float) -> Iterator[str]:
    if view.pending_change:
        fields = ", ".join(view.pending_change.get("fields", []))
        yield f"\nbeing rolled out: {fields}"
    if fault := view.last_fault:
        rank = f", rank {fault['rank']}" if "rank" in fault else ""
        yield (
            f"\nlast fault: {fault['reason']} of replica {fault['replica']}{rank}, {age(fault['time'], now)} ago: "
            f"{fault['message']} ({fault['action']})"
        )
    for line in view.notices:
        yield f"\nnotice: {line}"
    if not view.ready:
        yield f"\nkubectl vajra why {view.name}  says what to do"

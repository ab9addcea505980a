"""The status of a VajraDeployment, and the events that tell of its changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vajra.config import Change, changed_fields
from vajra.operator.model import Event, Manifest
from vajra.operator.planning import names
from vajra.operator.planning.conditions import condition_of, conditions, is_trouble
from vajra.operator.planning.groups import State
from vajra.operator.planning.layout import layout_of
from vajra.operator.planning.situation import Situation
from vajra.operator.planning.startup import startup

_TOLD: Final = ("Accepted", "Ready", "Progressing", "Degraded", "Suspended")  # conditions whose changes are events


def status_of(now: Situation) -> dict[str, Any]:
    """The whole status; what there is nothing to say of is left out, as an API server would do."""
    update = now.rollout.update
    staying = [group for group in now.groups.values() if group.state is not State.LEAVING]
    status: dict[str, Any] = {
        "observedGeneration": now.generation,
        "replicas": len(now.groups),
        "readyReplicas": now.serving,
        "updatedReplicas": sum(group.revision == update for group in staying),
        "availableReplicas": now.serving if now.gateways.available else 0,
        "readySummary": f"{now.serving}/{now.wanted}",
        "selector": names.leader_selector(now.owner.name),
        "gpus": _gpus(now),
        "accelerator": now.spec.resources.accelerator.type,
        "currentRevision": now.current_revision,
        "updateRevision": update,
        "endpoint": _endpoint(now),
        "resolved": _resolved(now),
        "capacity": _capacity(now),
        "notices": _notices(now),
        "pendingChange": _pending_change(now),
        "startup": startup(now.groups.values(), now.stored.get("startup", {})),
        "recovery": now.ladder.written(frozenset(now.groups) | now.fleet.waiting),
        "revisions": list(now.revisions),
        "conditions": conditions(now),
    }
    return {key: value for key, value in status.items() if value not in (None, {}, [])}


def events(before: Manifest, after: Manifest) -> Iterator[Event]:
    """One event for each condition whose status or reason has changed, and for a new fault."""
    for kind in _TOLD:
        old, new = condition_of(before, kind), condition_of(after, kind)
        changed = (old.get("status"), old.get("reason")) != (new["status"], new["reason"])
        beginning = not old and new["status"] == "False" and not is_trouble(new["reason"])
        if changed and not beginning and not _repeats(kind, new, after):
            yield Event(new["reason"], f"{kind} is {new['status']}: {new['message']}", is_trouble(new["reason"]))
    fault = after.get("recovery", {}).get("lastFault")
    if fault and fault != before.get("recovery", {}).get("lastFault"):
        yield Event(
            fault["reason"], f"replica {fault['replica']}: {fault['message']} ({fault['action']})", warning=True
        )


def _repeats(kind: str, condition: Mapping[str, Any], status: Manifest) -> bool:
    """Whether another condition's event says the same."""
    other = {"Ready": "Accepted", "Progressing": "Ready", "Degraded": "Ready", "Suspended": "Ready"}.get(kind)
    return other is not None and condition["reason"] == condition_of(status, other).get("reason")


def _gpus(now: Situation) -> int:
    if now.spec.resources.accelerator.type != "GPU":
        return 0
    specs = (now.specs.get(group.revision, now.spec) for group in now.groups.values())
    return sum(layout_of(spec).world_size for spec in specs)


def _endpoint(now: Situation) -> dict[str, Any]:
    host, networking = f"{now.owner.name}.{now.owner.namespace}.svc", now.spec.networking
    endpoint = {"grpc": f"{host}:{networking.grpc_port}"}
    if networking.open_ai_port is not None:
        endpoint["openAI"] = f"http://{host}:{networking.open_ai_port}/v1"
    return endpoint


def _resolved(now: Situation) -> dict[str, Any]:
    layout = layout_of(now.spec)
    controller = now.spec.controller.type
    if controller == "Auto":
        controller = "PipelineParallel" if layout.pipeline > 1 else "Base"
    return {
        "controller": controller,
        "worldSize": layout.world_size,
        "podsPerReplica": layout.pods,
        "gpusPerPod": layout.ranks_per_pod,
        "configMapName": names.config_map(now.owner.name),
    }


def _capacity(now: Situation) -> Mapping[str, Any]:
    """Of one replica: the first that serves and has said; else as stored."""
    for group in now.groups.values():
        report = group.report
        if group.ready and report is not None and report.kv_blocks:
            return {
                "kvBlocks": report.kv_blocks,
                "kvTokens": report.kv_blocks * report.block_size,
                "maxConcurrentSequences": report.max_batch_size,
            }
    stored: Mapping[str, Any] = now.stored.get("capacity", {})
    return stored


def _notices(now: Situation) -> list[str]:
    """What pods say that a user should know; each line once, though every replica says it."""
    if not now.reports:
        stored: list[str] = now.stored.get("notices", [])
        return stored
    return list(dict.fromkeys(line for _, report in sorted(now.reports.items()) for line in report.notices))


def _pending_change(now: Situation) -> dict[str, Any]:
    """What a rollout that is under way changes."""
    current, update = now.specs.get(now.current_revision or ""), now.specs.get(now.rollout.update)
    if not now.rolling or current is None or update is None:
        return {}
    fields = [change.path for change in changed_fields(current, update) if change.change is Change.RECREATE]
    return {"impact": Change.RECREATE.value, "fields": fields} if fields else {}

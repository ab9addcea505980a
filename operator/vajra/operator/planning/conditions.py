"""The conditions of a VajraDeployment: what it is like, in the terms of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from vajra.operator.model import Manifest
from vajra.operator.planning import clock
from vajra.operator.planning.acceptance import Acceptance
from vajra.operator.planning.blocking import (
    ASKED_ONCE_MORE,
    TROUBLE,
    Blocking,
    why_gateway_not_ready,
    why_not_ready,
)
from vajra.operator.planning.groups import Group, State
from vajra.operator.planning.situation import Situation
from vajra.operator.reasons import Fault, Reason


class Verdict(NamedTuple):
    """A condition without its times."""

    holds: bool
    reason: Reason
    message: str


_KINDS: Final = ("Accepted", "Ready", "Available", "Progressing", "Degraded", "ConfigApplied", "Suspended")
_REFUSALS: Final = frozenset({Reason.INVALID_CONFIG, Reason.INVALID_POD_TEMPLATE, Reason.UNSUPPORTED_OPTION})


def conditions(now: Situation) -> list[dict[str, Any]]:
    """All conditions. The time of one changes with its status alone."""
    progressing = _progressing(now)
    verdicts = (
        Verdict(now.accepted, now.acceptance.reason, now.acceptance.message),
        _ready(now),
        _available(now),
        progressing,
        _degraded(now, progressing),
        _config_applied(now),
        _suspended(now),
    )
    return [
        condition(kind, verdict, now.stored, now.generation, now.time)
        for kind, verdict in zip(_KINDS, verdicts, strict=True)
    ]


def refused(acceptance: Acceptance, stored: Manifest, generation: int, time: float) -> list[dict[str, Any]]:
    """The conditions when no spec has ever been accepted."""
    verdict = Verdict(False, acceptance.reason, acceptance.message)
    return [condition(kind, verdict, stored, generation, time) for kind in _KINDS]


def condition(kind: str, verdict: Verdict, stored: Manifest, generation: int, time: float) -> dict[str, Any]:
    """One condition, as it follows the one that is stored."""
    status = "True" if verdict.holds else "False"
    before = condition_of(stored, kind)
    same = before.get("status") == status
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same else clock.rfc3339(time),
        "reason": verdict.reason.value,
        "message": verdict.message,
    }


def condition_of(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of a status; empty when it is not there."""
    found: list[Mapping[str, Any]] = status.get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def _held_before(now: Situation, kind: str) -> bool:
    before = condition_of(now.stored, kind)
    return before.get("status") == "True" and before.get("observedGeneration") == now.generation


def _ready(now: Situation) -> Verdict:
    blocking = _blocking(now)
    if blocking is not None:
        return Verdict(False, *blocking)
    if not _held_before(now, "Ready"):  # else an operator that has just started would doubt what serves
        if silent := now.acknowledgement.silent:
            message = f"pod {silent[0]} is ready and does not answer the operator; a NetworkPolicy may be in the way"
            return Verdict(False, Reason.NOT_ANSWERING, message)
        if unheard := now.acknowledgement.unheard:
            return Verdict(False, Reason.STARTING, f"pod {unheard[0]} has yet to say what it runs")
    device = now.spec.resources.accelerator.type
    return Verdict(True, Reason.SERVING, f"{_rollout_message(now)} on {device}")


def _blocking(now: Situation) -> Blocking | None:
    """What keeps the current generation from being served by all replicas."""
    if not now.accepted:
        return Blocking(now.acceptance.reason, now.acceptance.message)
    if now.spec.suspend:
        return Blocking(Reason.SUSPENDED, "spec.suspend is set: all pods are taken away; unset it to go on")
    if now.wanted == 0:
        return Blocking(Reason.SCALED_TO_ZERO, "spec.replicas is 0: scale up to go on")
    if now.serving_update < now.wanted:
        return _missing_replica(now)
    if not now.gateways.run_only(now.rollout.update):
        return why_gateway_not_ready(now.gateways.staying, now.reports, now.gpu_resource)
    if now.acknowledgement.behind:
        message = f"pod {now.acknowledgement.behind[0]} runs an older generation than {now.live_generation}"
        return Blocking(Reason.CONFIG_PENDING, message)
    return None


def _missing_replica(now: Situation) -> Blocking:
    """Why fewer replicas than asked for serve the update revision."""
    going = now.fleet.leaving | now.fleet.removing - now.ladder.restarting
    missing = [group for group in now.groups.values() if not group.ready and group.replica not in going]
    missing.sort(key=lambda group: (group.replica not in now.ladder.stopped, group.replica))
    found = [why_not_ready(group, now.ladder, now.gpu_resource) for group in missing]
    first = next((blocking for blocking in found if blocking.reason in TROUBLE), found[0] if found else None)
    if first is not None and first.reason in TROUBLE:
        return first
    if now.coming_back:
        return _coming_back(now, min(now.coming_back))
    if any(group.revision != now.rollout.update for group in now.groups.values()):
        held = _held(now)
        if held is not None:
            return Blocking(held.reason, held.message)
        return Blocking(Reason.ROLLING_OUT, _rollout_message(now) + (f"; {first.message}" if first else ""))
    if first is not None:
        return first
    leaving = next((group for group in now.groups.values() if group.state is State.LEAVING), None)
    if leaving is not None:
        return why_not_ready(leaving, now.ladder, now.gpu_resource)
    return Blocking(Reason.CREATING, "replicas are being created")


def _coming_back(now: Situation, replica: int) -> Blocking:
    record, last = now.ladder.records.get(replica), now.ladder.last_fault
    own = last.get("replica") == replica
    if own and last["reason"] == Fault.CONFIG_REFUSED:
        return Blocking(Reason.CONFIG_REFUSED, f"replica {replica}: {last['message']} ({ASKED_ONCE_MORE})")
    said = f": {last['message']}" if own else ""
    restarts = _count(record.restarts, "time") if record else "once"
    limit = now.spec.recovery.group_restart_limit
    return Blocking(Reason.CRASH_LOOP, f"replica {replica} has failed {restarts} of at most {limit}{said}")


def _available(now: Situation) -> Verdict:
    needed = max(1, now.wanted - now.spec.rollout.max_unavailable)
    message = f"{now.serving} of {now.wanted} replicas serve"
    if now.wanted == 0:
        return Verdict(
            False, Reason.SUSPENDED if now.spec.suspend else Reason.SCALED_TO_ZERO, "no replica is asked for"
        )
    if now.serving < needed:
        return Verdict(False, Reason.MINIMUM_REPLICAS_UNAVAILABLE, f"{message}; at least {needed} should")
    if not now.gateways.available:
        return Verdict(False, *why_gateway_not_ready(now.gateways.staying, now.reports, now.gpu_resource))
    return Verdict(True, Reason.MINIMUM_REPLICAS_AVAILABLE, message)


def _progressing(now: Situation) -> Verdict:
    if not now.accepted:
        return Verdict(False, now.acceptance.reason, "the spec is not accepted; what ran before goes on")
    if now.spec.suspend and not now.groups:
        return Verdict(False, Reason.SUSPENDED, "all pods are gone")
    if now.rolling:
        return _held(now) or Verdict(True, Reason.ROLLING_OUT, _rollout_message(now))
    if len(now.groups) != now.wanted or now.serving_update < now.wanted:
        return Verdict(True, Reason.SCALING, f"{now.serving_update} of {now.wanted} replicas serve")
    return Verdict(False, Reason.COMPLETE, f"revision {now.rollout.update} is rolled out")


def _held(now: Situation) -> Verdict | None:
    """What holds a rollout, if something does."""
    settings = now.spec.rollout
    if settings.paused:
        return Verdict(False, Reason.PAUSED, f"rollout.paused is set: {_rollout_message(now)}")
    if settings.partition and not now.fleet.outdated and all(group.ready for group in now.groups.values()):
        return Verdict(False, Reason.PARTITIONED, f"rollout.partition is {settings.partition}: {_rollout_message(now)}")
    deadline = now.progress_deadline
    if now.time >= deadline:
        seconds = settings.progress_deadline_seconds
        message = f"no replica has become ready for {seconds} s (rollout.progressDeadlineSeconds)"
        return Verdict(False, Reason.PROGRESS_DEADLINE_EXCEEDED, f"{message}: {_rollout_message(now)}")
    return None


def _degraded(now: Situation, progressing: Verdict) -> Verdict:
    for group in _stopped_first(now):
        return Verdict(True, *why_not_ready(group, now.ladder, now.gpu_resource))
    for replica in sorted(now.coming_back):
        return Verdict(True, *_coming_back(now, replica))
    if progressing.reason is Reason.PROGRESS_DEADLINE_EXCEEDED:
        return Verdict(True, progressing.reason, progressing.message)
    return Verdict(False, Reason.AS_EXPECTED, "nothing is broken")


def _stopped_first(now: Situation) -> Iterator[Group]:
    """Groups that are broken, those that stay so first."""
    yield from (group for group in now.groups.values() if group.replica in now.ladder.stopped)
    for group in now.groups.values():
        if group.state is State.FAILED or group.lost_pod is not None:
            yield group


def _config_applied(now: Situation) -> Verdict:
    if not now.accepted:
        return Verdict(False, now.acceptance.reason, f"generation {now.live_generation} goes on")
    if now.wanted and not now.acknowledgement.started:
        return Verdict(False, Reason.CONFIG_PENDING, "no pod has started yet")
    if now.acknowledgement.behind:
        behind = ", ".join(now.acknowledgement.behind)
        message = f"these have yet to take generation {now.live_generation} over, or their log says why not: {behind}"
        return Verdict(False, Reason.CONFIG_PENDING, message)
    if not _held_before(now, "ConfigApplied"):
        if now.acknowledgement.silent:
            silent = ", ".join(now.acknowledgement.silent)
            return Verdict(False, Reason.NOT_ANSWERING, f"these do not answer the operator: {silent}")
        if now.acknowledgement.unheard:
            unheard = ", ".join(now.acknowledgement.unheard)
            return Verdict(False, Reason.CONFIG_PENDING, f"these have yet to say which generation they run: {unheard}")
    return Verdict(True, Reason.CONFIG_APPLIED, f"all pods run generation {now.live_generation}")


def _suspended(now: Situation) -> Verdict:
    if now.spec.suspend:
        return Verdict(True, Reason.SUSPENDED, "spec.suspend is set")
    return Verdict(False, Reason.NOT_SUSPENDED, "spec.suspend is not set")


def _rollout_message(now: Situation) -> str:
    return f"{now.serving_update} of {now.wanted} replicas serve revision {now.rollout.update}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def is_trouble(reason: str) -> bool:
    """Whether an event with this reason is a warning."""
    return reason in TROUBLE | _REFUSALS | {Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.NOT_ANSWERING}

"""How long a replica's start took, stage by stage: the cluster's stages from its pod, the process's from its report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vajra.operator.planning import clock, names
from vajra.operator.planning.groups import Group
from vajra.operator.planning.pods import Pod


def startup(groups: Iterable[Group], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """status.startup: of the youngest replica that serves and has said how it started; else as stored."""
    told = [group for group in groups if group.ready and group.report is not None and group.report.stages]
    if not told:
        return stored
    youngest = max(told, key=lambda group: (group.pods[0].created, group.replica))
    report = youngest.report
    assert report is not None
    stages = [*_cluster_stages(youngest.pods[0]), *((stage.name, stage.seconds) for stage in report.stages)]
    return {
        "totalSeconds": round(sum(seconds for _, seconds in stages), 1),
        "stages": [{"name": name, "seconds": round(seconds, 1)} for name, seconds in stages],
    }


def _cluster_stages(pod: Pod) -> list[tuple[str, float]]:
    """Scheduling, and ImagePull: from then until the container runs, which is mostly that."""
    scheduled = pod.condition("PodScheduled")
    running = (
        next((each for each in pod.containers if each["name"] == names.WORKER), {}).get("state", {}).get("running")
    )
    if scheduled.get("status") != "True" or running is None:
        return []
    at = clock.seconds(scheduled["lastTransitionTime"])
    return [("Scheduling", at - pod.created), ("ImagePull", clock.seconds(running["startedAt"]) - at)]

"""Live settings: who runs which generation of them, and who must be told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vajra.config import VajraDeploymentSpec
from vajra.operator.model import Report, UpdateConfig
from vajra.operator.planning.pods import Pod
from vajra.operator.planning.revision import with_live_part

_ANSWER_SECONDS: Final = 15.0  # in which a pod that is ready is asked several times


@dataclass(frozen=True)
class Acknowledgement:
    """Names of pods, but of `started`, which is the number of those that count.

    behind: those that run an older generation. unheard: those that have not answered and may not have been asked yet.
    silent: those that have been ready for so long that they do not answer. silent_at: when the next of them will have.
    """

    started: int
    behind: tuple[str, ...]
    unheard: tuple[str, ...]
    silent: tuple[str, ...]
    silent_at: float


def acknowledgement(pods: Iterable[Pod], reports: Mapping[str, Report], generation: int, now: float) -> Acknowledgement:
    """Of the pods that have started and stay."""
    started = [pod for pod in pods if pod.started and pod.alive and not pod.deleting]
    behind: list[str] = []
    unheard: list[str] = []
    silent: list[str] = []
    limits: list[float] = []
    for pod in started:
        report = reports.get(pod.name)
        limit = math.inf if pod.ready_since is None else pod.ready_since + _ANSWER_SECONDS
        if report is not None:
            if report.generation < generation:
                behind.append(pod.name)
        elif now < limit:
            unheard.append(pod.name)
            limits.append(limit)
        else:
            silent.append(pod.name)
    silent_at = min(limits, default=math.inf)
    return Acknowledgement(len(started), tuple(behind), tuple(unheard), tuple(silent), silent_at)


def updates(
    pods: Iterable[Pod],
    reports: Mapping[str, Report],
    spec: VajraDeploymentSpec,
    generation: int,
    revisions: Mapping[str, Mapping[str, Any]],
) -> Iterator[UpdateConfig]:
    """The updates of pods that lag behind: each runs its own revision, whose spec is given by its name, with the newest
    live settings."""
    for pod in pods:
        report = reports.get(pod.name)
        if report is None or pod.deleting or not pod.alive or report.generation >= generation:
            continue
        if report.phase in ("Starting", "Serving") and (own := revisions.get(pod.revision)) is not None:
            yield UpdateConfig(pod.name, generation, with_live_part(own, spec))

"""Live settings: who runs which generation of them, and who must be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vajra.config import VajraDeploymentSpec
from vajra.operator.model import Report, UpdateConfig
from vajra.operator.planning.pods import Pod
from vajra.operator.planning.revision import with_live_part


@dataclass(frozen=True)
class Acknowledgement:
    """behind: pods that run an older generation. silent: pods that have not answered lately."""

    behind: tuple[str, ...]
    silent: tuple[str, ...]


def acknowledgement(pods: Iterable[Pod], reports: Mapping[str, Report], generation: int) -> Acknowledgement:
    """Of the pods that have started and stay."""
    behind: list[str] = []
    silent: list[str] = []
    for pod in pods:
        if pod.deleting or not pod.alive or not pod.started:
            continue
        report = reports.get(pod.name)
        if report is None:
            silent.append(pod.name)
        elif report.generation < generation:
            behind.append(pod.name)
    return Acknowledgement(tuple(behind), tuple(silent))


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

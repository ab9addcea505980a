"""What a scrape tells of every VajraDeployment: what its object says, as long as it is there.

The leader alone tells it. Only what has changed since the last scrape is read again, so that a scrape of a thousand
costs milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vajra.metrics.table import Metric, counter, gauge
from vajra.operator.cache import Cache, Key
from vajra.operator.cluster import Object

_WHOSE = ("namespace", "vajradeployment")

# The values of a metric's further labels, and the number, for each of its series.
_Series = Iterator[tuple[tuple[str, ...], float]]
_Reader = Callable[[Object], _Series]


class _Lines(NamedTuple):
    """The text of one VajraDeployment, in the order of the metrics, and the version that it was made from."""

    version: int
    texts: tuple[str, ...]


def _number(*path: str, default: float | None = None) -> _Reader:
    """A number in the object. default: where it is not there; None: no series."""

    def read(item: Object) -> _Series:
        found: Any = item
        for key in path:
            found = found.get(key, {})
        value = default if found == {} else found
        if value is not None:
            yield (), value

    return read


def _info(item: Object) -> _Series:
    spec, status = item["spec"], item.get("status", {})
    model = spec["model"].get("servedName") or spec["model"]["name"]
    yield (model, spec["resources"]["accelerator"]["type"], status.get("currentRevision", "")), 1


def _conditions(item: Object) -> _Series:
    for each in item.get("status", {}).get("conditions", ()):
        yield (each["type"], each["reason"]), int(each["status"] == "True")


_STATUS = "vajra_deployment_status"
_ROWS: tuple[tuple[Metric, _Reader], ...] = (
    (
        gauge("vajra_deployment_info", "What it serves; always 1.", "", *_WHOSE, "model", "accelerator", "revision"),
        _info,
    ),
    (
        gauge(
            "vajra_deployment_condition",
            "1 where the condition is True, 0 where it is False; with its present reason.",
            "",
            *_WHOSE,
            "type",
            "reason",
        ),
        _conditions,
    ),
    (
        gauge("vajra_deployment_spec_replicas", "Replicas that are asked for.", "replicas", *_WHOSE),
        _number("spec", "replicas"),
    ),
    (
        gauge(f"{_STATUS}_replicas", "Replicas that there are.", "replicas", *_WHOSE),
        _number("status", "replicas", default=0),
    ),
    (
        gauge(f"{_STATUS}_replicas_ready", "Replicas that serve.", "replicas", *_WHOSE),
        _number("status", "readyReplicas", default=0),
    ),
    (
        gauge(f"{_STATUS}_replicas_available", "Replicas that clients reach.", "replicas", *_WHOSE),
        _number("status", "availableReplicas", default=0),
    ),
    (
        gauge(f"{_STATUS}_replicas_updated", "Replicas of the newest revision.", "replicas", *_WHOSE),
        _number("status", "updatedReplicas", default=0),
    ),
    (gauge(f"{_STATUS}_gpus", "GPUs that its replicas have.", "GPUs", *_WHOSE), _number("status", "gpus", default=0)),
    (
        gauge("vajra_deployment_metadata_generation", "The spec's generation.", "", *_WHOSE),
        _number("metadata", "generation"),
    ),
    (
        gauge(f"{_STATUS}_observed_generation", "The generation that its status is of.", "", *_WHOSE),
        _number("status", "observedGeneration", default=0),
    ),
    (
        counter(
            "vajra_deployment_worker_restarts_total", "Workers that were started again in place.", "restarts", *_WHOSE
        ),
        _number("status", "recovery", "workerRestarts", default=0),
    ),
    (
        counter("vajra_deployment_replica_restarts_total", "Replicas that were made again.", "restarts", *_WHOSE),
        _number("status", "recovery", "groupRestarts", default=0),
    ),
    (
        gauge("vajra_deployment_startup_seconds", "Of a replica's last complete start.", "seconds", *_WHOSE),
        _number("status", "startup", "totalSeconds"),
    ),
)
DEPLOYMENT_METRICS = tuple(metric for metric, _ in _ROWS)


class DeploymentMetrics:
    """The VajraDeployments of a cache, in Prometheus' text format."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._lines: dict[Key, _Lines] = {}

    async def render(self) -> str:
        """The text of a scrape. Others may work between the objects that are read."""
        lines: dict[Key, _Lines] = {}
        for key, version in self._cache.versions().items():
            known = self._lines.get(key)
            if known is None or known.version != version:
                await asyncio.sleep(0)
                item = self._cache.deployment(key)
                if item is None:  # it has just gone
                    continue
                known = _Lines(version, tuple(_text(metric, read, key, item) for metric, read in _ROWS))
            lines[key] = known
        self._lines = lines
        return "".join(
            part
            for index, metric in enumerate(DEPLOYMENT_METRICS)
            for part in (metric.head, *(each.texts[index] for each in lines.values()))
        )


def _text(metric: Metric, read: _Reader, key: Key, item: Object) -> str:
    return "".join(
        f"{metric.name}{{{_labels(metric.labels, (*key, *values))}}} {number}\n" for values, number in read(item)
    )


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

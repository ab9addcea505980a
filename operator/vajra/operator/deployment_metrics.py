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


def _status(*path: str) -> _Reader:
    return _number("status", *path, default=0)


def _info(item: Object) -> _Series:
    spec, status = item["spec"], item.get("status", {})
    model = spec["model"].get("servedName") or spec["model"]["name"]
    yield (model, spec["resources"]["accelerator"]["type"], status.get("currentRevision", "")), 1


def _conditions(item: Object) -> _Series:
    for each in item.get("status", {}).get("conditions", ()):
        yield (each["type"], each["reason"]), int(each["status"] == "True")


def _gauge(name: str, text: str, unit: str = "", *labels: str) -> Metric:
    return gauge(f"vajra_deployment_{name}", text, unit, *_WHOSE, *labels)


def _restarts(name: str, text: str) -> Metric:
    return counter(f"vajra_deployment_{name}_restarts_total", text, "restarts", *_WHOSE)


_CONDITION = "1 where the condition is True, 0 where it is False; with its present reason."
_READERS: dict[Metric, _Reader] = {
    _gauge("info", "What it serves; always 1.", "", "model", "accelerator", "revision"): _info,
    _gauge("condition", _CONDITION, "", "type", "reason"): _conditions,
    _gauge("spec_replicas", "Replicas that are asked for.", "replicas"): _number("spec", "replicas"),
    _gauge("status_replicas", "Replicas that there are.", "replicas"): _status("replicas"),
    _gauge("status_replicas_ready", "Replicas that serve.", "replicas"): _status("readyReplicas"),
    _gauge("status_replicas_available", "Replicas that clients reach.", "replicas"): _status("availableReplicas"),
    _gauge("status_replicas_updated", "Replicas of the newest revision.", "replicas"): _status("updatedReplicas"),
    _gauge("status_gpus", "GPUs that its replicas have.", "GPUs"): _status("gpus"),
    _gauge("metadata_generation", "The spec's generation."): _number("metadata", "generation"),
    _gauge("status_observed_generation", "The generation that its status is of."): _status("observedGeneration"),
    _restarts("worker", "Workers that were started again in place."): _status("recovery", "workerRestarts"),
    _restarts("replica", "Replicas that were made again."): _status("recovery", "groupRestarts"),
    _gauge("startup_seconds", "Of a replica's last complete start.", "seconds"): _number(
        "status", "startup", "totalSeconds"
    ),
}
DEPLOYMENT_METRICS = tuple(_READERS)


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
                known = _Lines(version, tuple(_text(metric, read, key, item) for metric, read in _READERS.items()))
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

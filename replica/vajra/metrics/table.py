"""How a process declares what it measures: a table of these rows makes its series, its documentation and its panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Type(Enum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


_CLASSES: dict[Type, Any] = {Type.COUNTER: Counter, Type.GAUGE: Gauge, Type.HISTOGRAM: Histogram}


@dataclass(frozen=True)
class Metric:
    """One metric.

    name: as it is scraped; of a counter it ends in `_total`. unit: what is counted, in the plural, or `seconds`,
    `bytes`, or empty for a truth value. buckets: of a histogram, in its unit.
    """

    name: str
    type: Type
    text: str
    unit: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    def make(self, registry: CollectorRegistry) -> Any:
        """The metric itself, in a registry."""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return _CLASSES[self.type](self.name, self.text, self.labels, registry=registry, **options)

    @property
    def head(self) -> str:
        """The lines that a scrape has before its series."""
        return f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.type.value}\n"


def counter(name: str, text: str, unit: str, *labels: str) -> Metric:
    """What only grows, until its process ends."""
    return Metric(name, Type.COUNTER, text, unit, labels)


def gauge(name: str, text: str, unit: str, *labels: str) -> Metric:
    """What is so at the time of a scrape."""
    return Metric(name, Type.GAUGE, text, unit, labels)


def histogram(name: str, text: str, unit: str, buckets: Sequence[float], *labels: str) -> Metric:
    """What is counted by its size."""
    return Metric(name, Type.HISTOGRAM, text, unit, labels, tuple(buckets))


# What prometheus_client's ProcessCollector tells of the process itself.
PROCESS_METRICS = (
    counter("process_cpu_seconds_total", "Processor time, user and system.", "seconds"),
    gauge("process_resident_memory_bytes", "Memory in use.", "bytes"),
    gauge("process_virtual_memory_bytes", "Address space.", "bytes"),
    gauge("process_start_time_seconds", "When it started, since the epoch.", "seconds"),
    gauge("process_open_fds", "Open file descriptors.", "descriptors"),
    gauge("process_max_fds", "File descriptors that it may open.", "descriptors"),
)

"""What the operator measures of itself, under the names that controller-runtime has made common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from vajra.operator.queue import QueueObserver, WorkQueue

_NAME = "vajradeployment"
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics(QueueObserver):
    """A registry of its own. All times in seconds."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # series that nobody reads, one for each other
        self._registry = registry = CollectorRegistry()

        def one(kind: Callable[..., Any], name: str, text: str, label: str, **options: Any) -> Any:
            return kind(name, text, [label], registry=registry, **options).labels(_NAME)

        def timed(name: str, text: str, label: str) -> Any:
            return one(Histogram, name, text, label, buckets=_SECONDS)

        self._results = Counter(
            "controller_runtime_reconcile", "Passes by how they ended.", ["controller", "result"], registry=registry
        )
        for result in ("success", "requeue_after", "error"):
            self._results.labels(_NAME, result)
        self._errors = one(Counter, "controller_runtime_reconcile_errors", "Passes that failed.", "controller")
        self._time = timed("controller_runtime_reconcile_time_seconds", "Of a pass.", "controller")
        self._own_time = timed(
            "vajra_operator_own_time_seconds", "Of a pass, without waits for the API server and pods.", "controller"
        )
        self._active = one(Gauge, "controller_runtime_active_workers", "Passes under way.", "controller")
        self._depth = one(Gauge, "workqueue_depth", "Keys that wait.", "name")
        self._adds = one(Counter, "workqueue_adds", "Keys that entered the queue.", "name")
        self._retries = one(Counter, "workqueue_retries", "Keys that come back after a failure.", "name")
        self._waited = timed("workqueue_queue_duration_seconds", "Of a key's wait.", "name")
        self._longest = one(Gauge, "workqueue_longest_running_processor_seconds", "Of the slowest pass.", "name")
        self._leading = one(Gauge, "leader_election_master_status", "1 where this process reconciles.", "name")
        self._answers = Counter(
            "rest_client_requests", "Answers of the API server.", ["method", "code"], registry=registry
        )
        ProcessCollector(registry=registry)

    def added(self) -> None:
        """See QueueObserver."""
        self._adds.inc()

    def started(self, waited: float) -> None:
        """See QueueObserver."""
        self._waited.observe(waited)

    def finished(self, result: str, seconds: float) -> None:
        """See QueueObserver."""
        self._results.labels(_NAME, result).inc()
        self._time.observe(seconds)
        if result == "error":
            self._errors.inc()
            self._retries.inc()

    def passed(self, own_seconds: float) -> None:
        """A pass has taken so many seconds of the operator's own."""
        self._own_time.observe(own_seconds)

    def answered(self, method: str, status: int) -> None:
        """Counts an answer of the API server."""
        self._answers.labels(method, str(status)).inc()

    def follow(self, queue: WorkQueue[Any]) -> None:
        """Reads a queue's state at every scrape from now on. This process leads."""
        self._depth.set_function(lambda: queue.depth)
        self._active.set_function(lambda: queue.active)
        self._longest.set_function(lambda: queue.longest_running)
        self._leading.set(1)

    def render(self) -> bytes:
        """The text of a scrape."""
        return generate_latest(self._registry)

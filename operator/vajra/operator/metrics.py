"""What the operator measures of itself, under the names that controller-runtime has made common."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

from vajra.metrics.table import counter, gauge, histogram
from vajra.operator.cache import Cache
from vajra.operator.deployment_metrics import DeploymentMetrics
from vajra.operator.queue import QueueObserver, WorkQueue

_NAME = "vajradeployment"
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

OPERATOR_METRICS = (
    gauge("leader_election_master_status", "1 where this process reconciles.", "", "name"),
    counter("controller_runtime_reconcile_total", "Passes by how they ended.", "passes", "controller", "result"),
    counter("controller_runtime_reconcile_errors_total", "Passes that failed.", "passes", "controller"),
    histogram("controller_runtime_reconcile_time_seconds", "Of a pass.", "seconds", _SECONDS, "controller"),
    histogram(
        "vajra_operator_own_time_seconds",
        "Of a pass, without waits for the API server and pods.",
        "seconds",
        _SECONDS,
        "controller",
    ),
    gauge("controller_runtime_active_workers", "Passes under way.", "passes", "controller"),
    gauge("workqueue_depth", "Keys that wait.", "keys", "name"),
    counter("workqueue_adds_total", "Keys that entered the queue.", "keys", "name"),
    counter("workqueue_retries_total", "Keys that come back after a failure.", "keys", "name"),
    histogram("workqueue_queue_duration_seconds", "Of a key's wait.", "seconds", _SECONDS, "name"),
    gauge("workqueue_longest_running_processor_seconds", "Of the slowest pass.", "seconds", "name"),
    counter("rest_client_requests_total", "Answers of the API server.", "answers", "method", "code"),
)


class Metrics(QueueObserver):
    """A registry of its own. All times in seconds."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # series that nobody reads, one for each other
        self._registry = registry = CollectorRegistry()
        made = {metric.name: metric.make(registry) for metric in OPERATOR_METRICS}

        def one(name: str) -> Any:
            return made[name].labels(_NAME)

        self._results = made["controller_runtime_reconcile_total"]
        for result in ("success", "requeue_after", "error"):
            self._results.labels(_NAME, result)
        self._errors = one("controller_runtime_reconcile_errors_total")
        self._time = one("controller_runtime_reconcile_time_seconds")
        self._own_time = one("vajra_operator_own_time_seconds")
        self._active = one("controller_runtime_active_workers")
        self._depth = one("workqueue_depth")
        self._adds = one("workqueue_adds_total")
        self._retries = one("workqueue_retries_total")
        self._waited = one("workqueue_queue_duration_seconds")
        self._longest = one("workqueue_longest_running_processor_seconds")
        self._leading = one("leader_election_master_status")
        self._answers = made["rest_client_requests_total"]
        ProcessCollector(registry=registry)
        self._deployments: DeploymentMetrics | None = None

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

    def follow(self, queue: WorkQueue[Any], cache: Cache) -> None:
        """Reads the state of a queue and of all VajraDeployments at every scrape from now on. This process leads."""
        self._depth.set_function(lambda: queue.depth)
        self._active.set_function(lambda: queue.active)
        self._longest.set_function(lambda: queue.longest_running)
        self._leading.set(1)
        self._deployments = DeploymentMetrics(cache)

    async def render(self) -> bytes:
        """The text of a scrape."""
        deployments = "" if self._deployments is None else await self._deployments.render()
        return generate_latest(self._registry) + deployments.encode()

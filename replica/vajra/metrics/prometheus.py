"""The gateway's Prometheus metrics: a registry of its own, cheap on the way of a token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OUTCOMES = ("ok", "aborted", "cancelled", "invalid", "overloaded", "unavailable", "deadline", "slow_client", "error")

_TTFT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ITL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_E2E = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, kw_only=True)
class ReplicaSample:
    """One replica at the time of a scrape."""

    replica: str  # its index, or its address
    state: str  # one of the states given to ServingMetrics
    restarts: int
    running: int
    waiting: int
    kv_blocks: int
    kv_blocks_used: int


class ServingMetrics:
    """What happens to requests, and how the replicas are. All times in seconds."""

    def __init__(self, model: str, replica_states: Sequence[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._states = tuple(replica_states)
        Gauge("vajra_model_info", "The served model; always 1.", ["model"], registry=registry).labels(model).set(1)
        requests = Counter("vajra_requests", "Requests by how they ended.", ["outcome"], registry=registry)
        self._requests = {outcome: requests.labels(outcome) for outcome in OUTCOMES}
        self.queue_depth = Gauge("vajra_queue_depth", "Sequences that wait for a replica.", registry=registry)
        self.running = Gauge("vajra_running_sequences", "Sequences that a replica has.", registry=registry)
        self.ttft = Histogram(
            "vajra_time_to_first_token_seconds", "From arrival to the first token.", buckets=_TTFT, registry=registry
        )
        self.itl = Histogram(
            "vajra_inter_token_latency_seconds", "Between tokens of a sequence.", buckets=_ITL, registry=registry
        )
        self.e2e = Histogram(
            "vajra_request_duration_seconds", "From arrival to the end.", buckets=_E2E, registry=registry
        )
        self.prompt_tokens = Counter("vajra_prompt_tokens", "Prompt tokens of requests taken.", registry=registry)
        self.completion_tokens = Counter("vajra_completion_tokens", "Tokens generated.", registry=registry)
        self.preemptions = Counter(
            "vajra_preemptions", "Sequences computed anew for want of memory.", registry=registry
        )
        self.failovers = Counter("vajra_failovers", "Sequences that lost their replica or worker.", registry=registry)
        self.tokenizers = Gauge("vajra_tokenizer_workers", "Tokenizer processes.", registry=registry)
        by = ["replica"]
        self._state = Gauge("vajra_replica_state", "1 for the state it is in.", ["replica", "state"], registry=registry)
        self._restarts = Gauge("vajra_replica_restarts", "Times its process was started again.", by, registry=registry)
        self._resident = Gauge("vajra_replica_running_sequences", "Sequences with KV blocks.", by, registry=registry)
        self._queued = Gauge("vajra_replica_waiting_sequences", "Sequences without.", by, registry=registry)
        self._blocks = Gauge("vajra_kv_blocks", "KV blocks in all.", by, registry=registry)
        self._blocks_used = Gauge("vajra_kv_blocks_used", "KV blocks in use.", by, registry=registry)

    def ended(self, outcome: str) -> None:
        """Counts a request; `outcome` is one of OUTCOMES."""
        self._requests[outcome].inc()

    def sample(self, replicas: Sequence[ReplicaSample]) -> None:
        """Takes the replicas' state for the scrape that follows; those that are not there any more are forgotten."""
        for gauge in (self._state, self._restarts, self._resident, self._queued, self._blocks, self._blocks_used):
            gauge.clear()
        for r in replicas:
            for state in self._states:
                self._state.labels(r.replica, state).set(float(state == r.state))
            self._restarts.labels(r.replica).set(r.restarts)
            self._resident.labels(r.replica).set(r.running)
            self._queued.labels(r.replica).set(r.waiting)
            self._blocks.labels(r.replica).set(r.kv_blocks)
            self._blocks_used.labels(r.replica).set(r.kv_blocks_used)

    def render(self) -> bytes:
        """The text of a scrape."""
        return generate_latest(_WithoutCreated(self.registry))


class _WithoutCreated(Collector):
    """A registry without the times at which its counters were made: series that nobody reads, one for each other.

    prometheus_client's own switch is the whole process's, which may be a user's program.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

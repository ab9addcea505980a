"""The gateway's Prometheus metrics: a registry of its own, cheap on the way of a token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from vajra.metrics.table import counter, gauge, histogram

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OUTCOMES = ("ok", "aborted", "cancelled", "invalid", "overloaded", "unavailable", "deadline", "slow_client", "error")

_TTFT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ITL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_E2E = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_OF_TENANTS = ("tenant", "outcome")

GATEWAY_METRICS = (
    gauge("vajra_model_info", "The served model; always 1.", "", "model"),
    counter("vajra_requests_total", "Requests by how they ended.", "requests", "outcome"),
    gauge("vajra_queue_depth", "Sequences that wait for a replica.", "sequences"),
    gauge("vajra_running_sequences", "Sequences that a replica has.", "sequences"),
    histogram("vajra_time_to_first_token_seconds", "From arrival to the first token.", "seconds", _TTFT),
    histogram("vajra_inter_token_latency_seconds", "Between tokens of a sequence.", "seconds", _ITL),
    histogram("vajra_request_duration_seconds", "From arrival to the end.", "seconds", _E2E),
    counter("vajra_prompt_tokens_total", "Prompt tokens of requests that have ended.", "tokens"),
    counter("vajra_completion_tokens_total", "Tokens generated for requests that have ended.", "tokens"),
    counter("vajra_tenant_requests_total", "Of named API keys: requests by how they ended.", "requests", *_OF_TENANTS),
    counter("vajra_tenant_prompt_tokens_total", "Of named API keys: prompt tokens.", "tokens", "tenant"),
    counter("vajra_tenant_completion_tokens_total", "Of named API keys: tokens generated.", "tokens", "tenant"),
    counter("vajra_preemptions_total", "Sequences computed anew for want of memory.", "sequences"),
    counter("vajra_failovers_total", "Sequences that lost their replica or worker.", "sequences"),
    gauge("vajra_tokenizer_workers", "Tokenizer processes.", "processes"),
    gauge("vajra_replica_state", "1 for the state it is in.", "", "replica", "state"),
    gauge("vajra_replica_restarts", "Times it was lost, and started or sought again.", "restarts", "replica"),
    gauge("vajra_replica_running_sequences", "Sequences with KV blocks.", "sequences", "replica"),
    gauge("vajra_replica_waiting_sequences", "Sequences without.", "sequences", "replica"),
    gauge("vajra_kv_blocks", "KV blocks in all.", "blocks", "replica"),
    gauge("vajra_kv_blocks_used", "KV blocks in use.", "blocks", "replica"),
)


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
        made = {metric.name: metric.make(registry) for metric in GATEWAY_METRICS}
        made["vajra_model_info"].labels(model).set(1)
        self._requests = {outcome: made["vajra_requests_total"].labels(outcome) for outcome in OUTCOMES}
        self.queue_depth = made["vajra_queue_depth"]
        self.running = made["vajra_running_sequences"]
        self.ttft = made["vajra_time_to_first_token_seconds"]
        self.itl = made["vajra_inter_token_latency_seconds"]
        self.e2e = made["vajra_request_duration_seconds"]
        self._prompt_tokens = made["vajra_prompt_tokens_total"]
        self._completion_tokens = made["vajra_completion_tokens_total"]
        self._tenant_requests = made["vajra_tenant_requests_total"]
        self._tenant_prompt_tokens = made["vajra_tenant_prompt_tokens_total"]
        self._tenant_completion_tokens = made["vajra_tenant_completion_tokens_total"]
        self.preemptions = made["vajra_preemptions_total"]
        self.failovers = made["vajra_failovers_total"]
        self.tokenizers = made["vajra_tokenizer_workers"]
        self._state = made["vajra_replica_state"]
        self._restarts = made["vajra_replica_restarts"]
        self._resident = made["vajra_replica_running_sequences"]
        self._queued = made["vajra_replica_waiting_sequences"]
        self._blocks = made["vajra_kv_blocks"]
        self._blocks_used = made["vajra_kv_blocks_used"]

    def ended(self, outcome: str, tenant: str = "") -> None:
        """Counts a request; `outcome` is one of OUTCOMES, `tenant` empty for an API key without a name."""
        self._requests[outcome].inc()
        if tenant:
            self._tenant_requests.labels(tenant, outcome).inc()

    def tokens(self, prompt: int, generated: int, tenant: str = "") -> None:
        """Counts the tokens of a request that has ended."""
        self._prompt_tokens.inc(prompt)
        self._completion_tokens.inc(generated)
        if tenant:
            self._tenant_prompt_tokens.labels(tenant).inc(prompt)
            self._tenant_completion_tokens.labels(tenant).inc(generated)

    def sample(self, replicas: Sequence[ReplicaSample]) -> None:
        """Takes the replicas' state for the scrape that follows; those that are not there any more are forgotten."""
        for each in (self._state, self._restarts, self._resident, self._queued, self._blocks, self._blocks_used):
            each.clear()
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

    def collect(self) -> Iterator[prometheus_client.Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

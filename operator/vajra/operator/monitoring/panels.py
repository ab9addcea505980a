"""What the dashboard shows: every metric in a panel, or named here as left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vajra.operator.monitoring.queries import OWNER, Query, now, quantiles, rate, share

# Metrics without a panel, and why.
LEFT_OUT: Final = {
    "process_virtual_memory_bytes": "says little; resident memory has a panel",
    "process_start_time_seconds": "starts are seen in the other panels",
    "process_max_fds": "a constant",
}


@dataclass(frozen=True)
class Panel:
    """One panel. kind: as Grafana calls it."""

    title: str
    queries: Sequence[Query]
    kind: Literal["timeseries", "table", "state-timeline"] = "timeseries"

    @property
    def unit(self) -> str:
        """Of its axis: the first query's."""
        return self.queries[0].unit

    @property
    def description(self) -> str:
        """What its metrics are."""
        texts = {query.metric.name: query.metric.text for query in self.queries}
        return "\n".join(f"{name}: {text}" for name, text in texts.items())


def _operators() -> Iterator[Panel]:
    passes, queue, itself = 'controller="vajradeployment"', 'name="vajradeployment"', 'job=~"$operator"'
    pod = "{{pod}}"
    yield Panel("Leads", [now("leader_election_master_status", pod, by="namespace, pod", where=queue)])
    yield Panel(
        "Passes per second", [rate("controller_runtime_reconcile_total", "{{result}}", by="result", where=passes)]
    )
    yield Panel(
        "Failures per second",
        [
            rate("controller_runtime_reconcile_errors_total", "failed", by="controller", where=passes),
            rate("workqueue_retries_total", "to be tried again", by="name", where=queue),
        ],
    )
    yield Panel(
        "Duration of a pass", quantiles("controller_runtime_reconcile_time_seconds", by="controller", where=passes)
    )
    yield Panel(
        "Of it, the operator's own", quantiles("vajra_operator_own_time_seconds", by="controller", where=passes)
    )
    yield Panel("Wait in the queue", quantiles("workqueue_queue_duration_seconds", by="name", where=queue))
    yield Panel(
        "Slowest pass under way",
        [now("workqueue_longest_running_processor_seconds", pod, by="pod", how="max", where=queue)],
    )
    yield Panel(
        "Queue",
        [
            now("workqueue_depth", "waiting", by="name", where=queue),
            now("controller_runtime_active_workers", "under way", by="controller", where=passes),
            rate("workqueue_adds_total", "added per second", by="name", where=queue),
        ],
    )
    yield Panel(
        "Answers of the API server per second",
        [rate("rest_client_requests_total", "{{method}} {{code}}", by="method, code", where=itself)],
    )
    yield Panel("Processor", [rate("process_cpu_seconds_total", pod, by="pod", where=itself)])
    yield Panel("Memory", [now("process_resident_memory_bytes", pod, by="pod", where=itself)])
    yield Panel("Open files", [now("process_open_fds", pod, by="pod", where=itself)])


def _deployments() -> Iterator[Panel]:
    name, prefix = "{{namespace}}/{{vajradeployment}}", "vajra_deployment"

    def lines(title: str, **legends: str) -> Panel:
        return Panel(
            title, [now(f"{prefix}_{key}", f"{name} {text}".strip(), how="max") for key, text in legends.items()]
        )

    yield Panel("Serves", [now(f"{prefix}_info", by=f"{OWNER}, model, accelerator, revision", how="max")], "table")
    conditions = now(
        f"{prefix}_condition", f"{name} {{{{type}}}}: {{{{reason}}}}", by=f"{OWNER}, type, reason", how="max"
    )
    yield Panel("Conditions", [conditions], "state-timeline")
    yield lines(
        "Replicas",
        spec_replicas="asked for",
        status_replicas="there",
        status_replicas_updated="of the newest revision",
        status_replicas_ready="ready",
        status_replicas_available="available",
    )
    yield lines("Restarts so far", worker_restarts_total="of workers", replica_restarts_total="of replicas")
    yield lines("Generation", metadata_generation="asked for", status_observed_generation="observed")
    yield lines("GPUs", status_gpus="")
    yield lines("Last start of a replica", startup_seconds="")


def _gateways() -> Iterator[Panel]:
    name = "{{vajradeployment}}"
    yield Panel("Time to first token", quantiles("vajra_time_to_first_token_seconds", name))
    yield Panel("Time between tokens", quantiles("vajra_inter_token_latency_seconds", name))
    yield Panel("Duration of requests", quantiles("vajra_request_duration_seconds", name))
    yield Panel(
        "Requests per second", [rate("vajra_requests_total", f"{name} {{{{outcome}}}}", by=f"{OWNER}, outcome")]
    )
    yield Panel(
        "Tokens per second",
        [
            rate("vajra_prompt_tokens_total", f"{name} prompt"),
            rate("vajra_completion_tokens_total", f"{name} generated"),
        ],
    )
    yield Panel(
        "Sequences",
        [now("vajra_queue_depth", f"{name} waiting"), now("vajra_running_sequences", f"{name} running")],
    )
    tenant, by_tenant = f"{name} {{{{tenant}}}}", f"{OWNER}, tenant"
    yield Panel(
        "Requests of each tenant per second",
        [rate("vajra_tenant_requests_total", f"{tenant} {{{{outcome}}}}", by=f"{by_tenant}, outcome")],
    )
    yield Panel(
        "Tokens of each tenant per second",
        [
            rate("vajra_tenant_prompt_tokens_total", f"{tenant} prompt", by=by_tenant),
            rate("vajra_tenant_completion_tokens_total", f"{tenant} generated", by=by_tenant),
        ],
    )
    yield Panel("Models", [now("vajra_model_info", by=f"{OWNER}, pod, model", how="max")], "table")
    yield Panel("Tokenizer processes", [now("vajra_tokenizer_workers", f"{name} {{{{pod}}}}", by=f"{OWNER}, pod")])


def _replicas() -> Iterator[Panel]:
    by, name = f"{OWNER}, replica", "{{vajradeployment}} {{replica}}"
    yield Panel("KV blocks in use", [share("vajra_kv_blocks_used", "vajra_kv_blocks", name, by=by)])
    yield Panel("KV blocks", [now("vajra_kv_blocks", name, by=by, how="max")])
    yield Panel(
        "Sequences",
        [
            now("vajra_replica_running_sequences", f"{name} running", by=by, how="max"),
            now("vajra_replica_waiting_sequences", f"{name} waiting", by=by, how="max"),
        ],
    )
    yield Panel(
        "Computed anew for want of memory, per second", [rate("vajra_preemptions_total", "{{vajradeployment}}")]
    )
    yield Panel("Handed over from a lost replica, per second", [rate("vajra_failovers_total", "{{vajradeployment}}")])
    states = now("vajra_replica_state", f"{name} {{{{state}}}}", by=f"{by}, state", how="max")
    yield Panel("State", [states], "state-timeline")
    yield Panel("Times lost", [now("vajra_replica_restarts", f"{name} for {{{{pod}}}}", by=f"{by}, pod", how="max")])


ROWS: Final = {
    "VajraDeployments": tuple(_deployments()),
    "Gateways": tuple(_gateways()),
    "Replicas": tuple(_replicas()),
    "Operators": tuple(_operators()),
}

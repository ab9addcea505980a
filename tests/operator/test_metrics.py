"""What a scrape tells of VajraDeployments, as a Prometheus client reads it."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from vajra.operator.cache import Cache
from vajra.operator.deployment_metrics import DEPLOYMENT_METRICS, DeploymentMetrics
from vajra.operator.kinds import VAJRA_DEPLOYMENT

STATUS = {
    "observedGeneration": 2,
    "replicas": 3,
    "readyReplicas": 2,
    "updatedReplicas": 1,
    "gpus": 4,
    "startup": {"totalSeconds": 12.5},
    "recovery": {"workerRestarts": 5, "groupRestarts": 6},
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "CrashLoop"},
        {"type": "Accepted", "status": "True", "reason": "Accepted"},
    ],
}


def deployment(name: str, version: int, status: dict[str, Any], model: str = "m") -> dict[str, Any]:
    """As the API server has it."""
    meta = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version), "generation": 3}
    spec = {"replicas": 4, "model": {"name": model}, "resources": {"accelerator": {"type": "CPU"}}}
    return {
        "apiVersion": VAJRA_DEPLOYMENT.api_version,
        "kind": VAJRA_DEPLOYMENT.name,
        "metadata": meta,
        "spec": spec,
        "status": status,
    }


def scraped(metrics: DeploymentMetrics) -> dict[tuple[str, ...], float]:
    """Series by name and label values, those of VajraDeployment's own name and namespace aside."""
    return {
        (sample.name, sample.labels["vajradeployment"], *list(sample.labels.values())[2:]): sample.value
        for family in text_string_to_metric_families(asyncio.run(metrics.render()))
        for sample in family.samples
    }


def test_it_tells_what_the_objects_say() -> None:
    cache = Cache()
    cache.store(deployment("llama", 1, STATUS))
    assert scraped(DeploymentMetrics(cache)) == {
        ("vajra_deployment_info", "llama", "m", "CPU", ""): 1,
        ("vajra_deployment_condition", "llama", "Ready", "CrashLoop"): 0,
        ("vajra_deployment_condition", "llama", "Accepted", "Accepted"): 1,
        ("vajra_deployment_spec_replicas", "llama"): 4,
        ("vajra_deployment_status_replicas", "llama"): 3,
        ("vajra_deployment_status_replicas_ready", "llama"): 2,
        ("vajra_deployment_status_replicas_available", "llama"): 0,
        ("vajra_deployment_status_replicas_updated", "llama"): 1,
        ("vajra_deployment_status_gpus", "llama"): 4,
        ("vajra_deployment_metadata_generation", "llama"): 3,
        ("vajra_deployment_status_observed_generation", "llama"): 2,
        ("vajra_deployment_worker_restarts_total", "llama"): 5,
        ("vajra_deployment_replica_restarts_total", "llama"): 6,
        ("vajra_deployment_startup_seconds", "llama"): 12.5,
    }


def test_it_follows_changes_and_forgets_what_is_gone() -> None:
    cache = Cache()
    metrics = DeploymentMetrics(cache)
    for name in ("a", "b"):
        cache.store(deployment(name, 1, {}))
    assert scraped(metrics)["vajra_deployment_status_replicas_ready", "a"] == 0
    cache.store(deployment("a", 2, STATUS))
    assert scraped(metrics)["vajra_deployment_status_replicas_ready", "a"] == 2
    cache.drop(VAJRA_DEPLOYMENT, "ns", "a", "a")
    assert {series[1] for series in scraped(metrics)} == {"b"}


def test_names_types_and_labels_are_those_of_the_table() -> None:
    cache = Cache()
    cache.store(deployment("llama", 1, STATUS))
    text = asyncio.run(DeploymentMetrics(cache).render())
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert set(families) == {metric.name.removesuffix("_total") for metric in DEPLOYMENT_METRICS}
    for metric in DEPLOYMENT_METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.type.value, metric.text)
        assert all(tuple(sample.labels) == metric.labels for sample in family.samples)


def test_any_name_of_a_model_is_read_back() -> None:
    cache = Cache()
    name = 'a "model\\n\\\\,}\n'
    cache.store(deployment("llama", 1, {}, model=name))
    assert ("vajra_deployment_info", "llama", name, "CPU", "") in scraped(DeploymentMetrics(cache))

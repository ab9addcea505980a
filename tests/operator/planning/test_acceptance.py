"""What is refused, in which words; and that a refusal never touches what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.operator.planning.cluster import Cluster, minimal_spec, parallel_spec

from vajra.config import Change, VajraDeployment, changed_fields
from vajra.config.table import Row, leaves
from vajra.operator.planning import plan
from vajra.operator.planning.acceptance import accept

HUB = {"name": "org/model", "dtype": "Auto"}


def refused(**fields: Any) -> tuple[str, str]:
    """Reason and message of a spec that is not accepted."""
    cluster = Cluster(minimal_spec(**fields))
    cluster.settle()
    assert not cluster.objects, "no pods are made that would only crash"
    accepted, ready = cluster.condition("Accepted"), cluster.condition("Ready")
    assert accepted["status"] == ready["status"] == "False"
    assert ready["reason"] == accepted["reason"]
    assert cluster.status["observedGeneration"] == cluster.generation
    assert [event.reason for event in cluster.events] == [accepted["reason"]], "it is told once"
    return accepted["reason"], accepted["message"]


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"scheduler": {"type": "Nonsense"}}, "InvalidConfig", "spec.scheduler.type"),
        ({"scheduler": {"type": "SpaceSharing"}}, "InvalidConfig", "LRS with scheduler SpaceSharing"),
        ({"metrics": {"mode": "Enabled"}}, "UnsupportedOption", "Enabled is not implemented"),
        ({"metrics": {"outputDir": "/x"}}, "UnsupportedOption", "spec.metrics.outputDir"),
        ({"resources": {"accelerator": {"type": "GPU"}}}, "UnsupportedOption", "spec.worker.executionBackend"),
        ({"placement": {"gang": "Kueue"}}, "UnsupportedOption", "Kueue is not implemented"),
        ({"placement": {"queueName": "q"}}, "UnsupportedOption", "spec.placement.queueName"),
        ({"autoscaling": {"maxReplicas": 3}}, "UnsupportedOption", "scale subresource"),
        ({"networking": {"inferencePool": "Enabled"}}, "UnsupportedOption", "spec.networking.inferencePool"),
        ({"networking": {"grpcPort": 8472}}, "InvalidConfig", "spec.networking.grpcPort"),
        ({"networking": {"openAIPort": 8473}}, "InvalidConfig", "spec.networking.openAIPort"),
        (
            {"model": HUB | {"cache": {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "c"}}}},
            "UnsupportedOption",
            "prefetch",
        ),
        (
            {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 5}}},
            "InvalidPodTemplate",
            "drain.timeoutSeconds",
        ),
        ({"podTemplate": {"spec": {"restartPolicy": "Always"}}}, "InvalidPodTemplate", "recovery"),
        (
            {"podTemplate": {"metadata": {"labels": {"vajra.ai/revision": "x"}}}},
            "InvalidPodTemplate",
            "vajra.ai/revision",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], reason: str, words: str) -> None:
    got_reason, message = refused(**fields)
    assert got_reason == reason
    assert words in message


@pytest.mark.parametrize(
    "row",
    [row for row in leaves() if row.change is Change.LIVE and row.available and not row.updatable],
    ids=lambda row: row.path,
)
def test_no_live_setting_is_accepted_that_processes_would_not_take_over(row: Row) -> None:
    """They would refuse the update, and for ever be said to lag behind."""
    usual = accept("llama", minimal_spec()).deployment
    assert usual is not None
    for value in row.field.choices or (True,):
        spec = minimal_spec()
        *sections, key = row.path.split(".")[1:]
        here = spec
        for section in sections:
            here = here.setdefault(section, {})
        here[key] = value
        accepted = accept("llama", spec).deployment
        assert accepted is None or not changed_fields(usual.spec, accepted.spec)


def test_all_faults_are_told_together() -> None:
    _, message = refused(metrics={"chromeTrace": True}, placement={"gang": "Volcano"})
    assert "spec.metrics.chromeTrace" in message
    assert "spec.placement.gang" in message


@pytest.mark.parametrize("prioritizer", ["FCFS", "EDF", "LRS"])
@pytest.mark.parametrize("scheduler", ["FixedChunk", "DynamicChunk", "SpaceSharing"])
def test_every_scheduler_is_accepted_with_every_prioritizer(scheduler: str, prioritizer: str) -> None:
    spec = minimal_spec(scheduler={"type": scheduler}, prioritizer={"type": prioritizer})
    fits = scheduler != "SpaceSharing" or prioritizer == "LRS"
    assert accept("llama", spec).reason == ("Accepted" if fits else "InvalidConfig")


@pytest.mark.parametrize("example", ["cpu", "host-path", "dynamic-chunk", "space-sharing"])
def test_an_example_for_cpus_can_be_served(example: str) -> None:
    path = Path(__file__).parents[3] / f"manifests/examples/{example}.yaml"
    accepted = accept("llama", VajraDeployment.from_yaml(path).to_dict()["spec"])
    assert accepted.deployment is not None, accepted.message


def test_parallelism_is_for_the_pods_to_refuse() -> None:
    cluster = Cluster(parallel_spec())
    for _ in range(12):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
        for pod in cluster.replica_pods():
            cluster.fail(pod, 2, "spec.parallelism.tensor: 2 is not implemented")
    cluster.settle()
    assert cluster.condition("Accepted")["status"] == "True"
    assert cluster.condition("Ready")["reason"] == "ConfigRefused"
    assert "llama-0-0: spec.parallelism.tensor: 2 is not implemented" in cluster.condition("Ready")["message"]
    assert cluster.condition("Degraded")["status"] == "True"
    assert cluster.status["recovery"]["groupRestarts"] == 1, "it is asked once more, and no more often"


def test_an_invalid_change_leaves_what_runs_as_it_is() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    pods, files = cluster.revisions(), cluster.objects["ConfigMap", "llama-config"]["data"]
    cluster.change(scheduler={"type": "Nonsense"}, replicas=0, model={"name": "other"})
    cluster.settle()
    assert cluster.revisions() == pods
    assert cluster.objects["ConfigMap", "llama-config"]["data"] == files
    assert cluster.condition("Accepted")["reason"] == "InvalidConfig"
    assert cluster.condition("Ready")["reason"] == "InvalidConfig"
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.status["observedGeneration"] == cluster.generation


def test_what_runs_under_an_invalid_spec_is_still_healed() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    cluster.change(scheduler={"type": "Nonsense"})
    cluster.settle()
    cluster.fail("llama-1-0")
    cluster.settle()
    assert cluster.serving() == {0, 1}


def test_a_spec_that_goes_with_its_deployment_is_left_to_the_garbage_collector() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    cluster.change(replicas=3)
    observed = cluster.observed()
    observed.deployment["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    made = plan(observed, cluster.settings)
    assert made.actions == ()
    assert made.status == cluster.status

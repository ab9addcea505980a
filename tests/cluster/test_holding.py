"""What users hold back and take back: suspend, scale, paused and partitioned rollouts, and the way back.

The tests follow one another: each begins and ends with two replicas that serve.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.deployed import SMALL, Deployed, uids
from tests.cluster.waiting import eventually
from tests.models.checkpoints import make_checkpoint
from tests.models.hub_server import serve_hub

from vajra.operator.planning import names

MODEL = "org/tiny"


@pytest.fixture(scope="module")
def deployed(cluster: Cluster, operator: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    kubectl = cluster.kubectl.within(f"test-{secrets.token_hex(4)}")
    kubectl("create", "namespace", kubectl.namespace)
    with serve_hub(make_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "llama"), cluster.host) as hub:
        source = {"type": "HuggingFace", "huggingFace": {"endpoint": hub.url}}
        deployed = Deployed(kubectl)
        deployed.apply({**SMALL, "replicas": 2, "model": {"name": MODEL, "dtype": "Auto", "source": source}})
        deployed.serves()
        yield deployed
        kubectl.delete("namespace", kubectl.namespace, wait=False)


def revisions(deployed: Deployed) -> dict[str, str]:
    """The revision that each replica's pod runs."""
    return {name: pod["metadata"]["labels"][names.REVISION] for name, pod in deployed.replicas().items()}


def no_pods(deployed: Deployed) -> None:
    assert not deployed.replicas()
    assert not deployed.gateways()


def test_suspending_takes_all_pods_away_and_going_on_brings_the_same_revision_back(deployed: Deployed) -> None:
    before = revisions(deployed)
    deployed.patch(suspend=True)
    eventually(lambda: no_pods(deployed))
    deployed.expect("Ready", "Suspended")
    assert deployed.condition("Suspended")["status"] == "True"
    assert deployed.kubectl.get("service", "llama"), "its address stays"
    deployed.patch(suspend=False)
    deployed.serves()
    assert revisions(deployed) == before
    deployed.answers(MODEL)


def test_scaling_to_none_and_back(deployed: Deployed) -> None:
    def scale(replicas: int) -> None:
        deployed.kubectl("scale", "vajradeployment", "llama", f"--replicas={replicas}")

    first = uids(deployed.replicas())
    scale(1)
    deployed.serves()
    (kept,) = uids(deployed.replicas()).items()
    assert kept in first.items()
    scale(0)
    eventually(lambda: no_pods(deployed))
    deployed.expect("Ready", "ScaledToZero")
    scale(2)
    deployed.serves()
    deployed.answers(MODEL)


def test_a_rollout_that_is_paused_then_goes_by_parts_and_is_taken_back(deployed: Deployed) -> None:
    before, pods = revisions(deployed), uids(deployed.replicas())
    (old,) = set(before.values())
    deployed.patch(cache={"blockSize": 32}, rollout={"paused": True})
    deployed.expect("Progressing", "Paused")
    deployed.expect("Ready", "Paused")
    assert deployed.condition("Available")["status"] == "True"
    assert uids(deployed.replicas()) == pods

    deployed.patch(rollout={"paused": False, "partition": 1})
    message = deployed.expect("Progressing", "Partitioned", seconds=120)
    new = deployed.status()["updateRevision"]
    assert new in message
    assert revisions(deployed) == {"llama-0-0": old, "llama-1-0": new}
    assert deployed.status()["pendingChange"] == {"impact": "Recreate", "fields": ["spec.cache.blockSize"]}
    deployed.answers(MODEL)

    deployed.patch(cache={"blockSize": 16}, rollout={"partition": 0})
    deployed.serves()
    assert revisions(deployed) == before
    assert uids(deployed.replicas())["llama-0-0"] == pods["llama-0-0"], "what runs the old revision still is let be"


def test_no_more_history_is_kept_than_asked_for(deployed: Deployed) -> None:
    def kept() -> set[str]:
        files = deployed.kubectl.get("configmap", "llama-config")["data"]
        recorded = {each["name"] for each in deployed.status()["revisions"]}
        assert {names.revision_file(name) for name in recorded} == files.keys() - {names.LIVE_FILE}
        return recorded

    assert len(kept()) == 2
    deployed.patch(rollout={"revisionHistoryLimit": 0})

    def forgotten() -> None:
        assert kept() == set(revisions(deployed).values())

    eventually(forgotten)

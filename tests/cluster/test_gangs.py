"""Replicas of several pods, on nodes that say that they have GPUs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.cluster import GPU, Cluster, gpus, nodes, partition
from tests.cluster.deployed import Deployed
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import eventually

from vajra.operator.planning import names

pytestmark = pytest.mark.usefixtures("operator")

# Stands for a process that has found its device and waits for the others: no device is here.
WAIT = ["sh", "-c", "trap exit TERM; sleep infinity & wait"]
RESOLVE = "import socket, sys; print(*{a[4][0] for name in sys.argv[1:] for a in socket.getaddrinfo(name, 80)})"


def gang(*, tensor: int, pipeline: int = 1, kv: int = 1, waits: bool = True, **spec: Any) -> dict[str, Any]:
    """A spec with two GPUs in each pod."""
    containers = [{"name": names.WORKER, "command": WAIT}]
    return {
        "model": {"name": "smollm2-135m-instruct", "source": {"type": "Embedded"}, "dtype": "BFloat16"},
        "parallelism": {"tensor": tensor, "pipeline": pipeline, "kv": kv, "maxTokensPerKVGroup": 64 * (kv > 1)},
        "resources": {"gpusPerPod": 2, "sharedMemory": "64Mi"},
        "worker": {"executionBackend": "Python"},
        "podTemplate": {"spec": {"containers": containers}} if waits else {},
        **spec,
    }


@pytest.fixture
def deployed(cluster: Cluster, kubectl: Kubectl) -> Deployed:
    return Deployed(kubectl)


def running(deployed: Deployed) -> dict[str, dict[str, Any]]:
    """The pods of replicas that run."""
    pods = deployed.replicas()
    return {name: pod for name, pod in pods.items() if pod["status"]["phase"] == "Running"}


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}


def test_ranks_are_spread_over_pods_that_find_one_another(cluster: Cluster, deployed: Deployed) -> None:
    def all_run() -> dict[str, dict[str, Any]]:
        pods = running(deployed)
        assert list(pods) == [f"llama-0-{index}" for index in range(4)]
        return pods

    with gpus(cluster, 4):
        deployed.apply(gang(tensor=2, pipeline=2, kv=2))
        pods = eventually(all_run)
        for index, pod in enumerate(pods.values()):
            assert environment(pod)["VAJRA_WORLD_SIZE"] == "8"
            assert environment(pod)["VAJRA_RANKS"] == f"{2 * index},{2 * index + 1}"
            assert pod["spec"]["containers"][0]["resources"]["limits"] == {GPU: "2"}
            assert pod["metadata"]["labels"][names.ROLE] == ("follower" if index else "leader")
        assert sorted(pod["spec"]["nodeName"] for pod in pods.values()) == sorted(2 * nodes(cluster.kubectl))

        addresses = {pod["status"]["podIP"] for pod in pods.values()}
        (leader,) = {environment(pod)["VAJRA_LEADER"].removesuffix(":8472") for pod in pods.values()}
        assert leader == "llama-0-0.llama-ranks"
        for name in pods:  # before any of them is ready
            everyone = [f"{pod}.llama-ranks" for pod in pods]
            assert set(deployed.kubectl.execute(name, "python", "-c", RESOLVE, *everyone).split()) == addresses
            assert deployed.kubectl.execute(name, "python", "-c", RESOLVE, leader).strip() in addresses
        resolved = deployed.status()["resolved"]
        assert (resolved["worldSize"], resolved["podsPerReplica"], resolved["gpusPerPod"]) == (8, 4, 2)


def test_what_pods_refuse_is_what_status_shows(cluster: Cluster, deployed: Deployed) -> None:
    with gpus(cluster, 2):
        deployed.apply(gang(tensor=2, pipeline=2, waits=False))
        message = deployed.expect("Ready", "ConfigRefused", "change the spec")  # it has been asked once more
        for path in ("spec.parallelism.pipeline: 2", "spec.parallelism.tensor: 2", "spec.resources.accelerator.type"):
            assert path in message
        assert "pod llama-0-" in message
        assert deployed.condition("Degraded")["reason"] == "ConfigRefused"
        assert deployed.status()["gpus"] == 4


def test_with_gpus_for_one_replica_one_is_placed_and_the_next_says_what_it_lacks(
    cluster: Cluster, deployed: Deployed
) -> None:
    deployed.apply(gang(tensor=4, replicas=2))
    deployed.expect("Ready", "InsufficientGPUs", f"llama-0-0 waits for {GPU}")

    def whole() -> str:
        groups = {name.split("-")[1] for name in running(deployed)}
        found = [group for group in groups if {f"llama-{group}-0", f"llama-{group}-1"} <= running(deployed).keys()]
        assert len(found) == 1, "each has what the other waits for"
        return found[0]

    with gpus(cluster, 2):  # all four pods wait for them
        group = eventually(whole)
        other = "1" if group == "0" else "0"
        deployed.expect("Ready", "InsufficientGPUs", f"pod llama-{other}-")
        deployed.kubectl("scale", "vajradeployment", "llama", "--replicas=1")

        def alone() -> None:
            assert running(deployed).keys() == deployed.replicas().keys() == {f"llama-{group}-0", f"llama-{group}-1"}

        eventually(alone)


def test_a_lost_node_takes_the_replica_down_as_a_whole_and_it_comes_again(cluster: Cluster, deployed: Deployed) -> None:
    def whole() -> dict[str, str]:
        found = {name: pod["metadata"]["uid"] for name, pod in running(deployed).items()}
        assert found.keys() == {"llama-0-0", "llama-0-1"}
        return found

    with gpus(cluster, 2):
        deployed.apply(gang(tensor=4))
        before = eventually(whole)
        with partition(cluster, nodes(cluster.kubectl)[1]):
            deployed.expect("Ready", "NodeLost")
            deployed.expect("Ready", "InsufficientGPUs", seconds=120)
            after = {pod["metadata"]["uid"] for pod in deployed.replicas().values()}
            assert not after & set(before.values())
            recovery = deployed.status()["recovery"]
            assert (recovery["lastFault"]["reason"], recovery["groupRestarts"]) == ("NodeLost", 1)
            assert not any(group["restarts"] for group in recovery.get("groups", ())), "the replica is not to blame"
        eventually(whole)

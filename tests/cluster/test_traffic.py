"""From nothing to a served model, and what clients see of all that happens to it later: nothing.

The tests follow one another: each begins with what the one before left, two replicas and two gateways that serve.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster import operator_install
from tests.cluster.cluster import Cluster, nodes, partition
from tests.cluster.images import MODEL
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.traffic import Counts, Traffic
from tests.cluster.waiting import eventually

from vajra.operator.kinds import CHILDREN, LABEL

NAME = "llm"
READY_SECONDS = 180
LEADER = "vajra.ai/role=leader"
GATEWAY = "vajra.ai/role=gateway"
MANIFEST: dict[str, Any] = {
    "apiVersion": "vajra.ai/v1alpha1",
    "kind": "VajraDeployment",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 2,
        "model": {"name": MODEL, "source": {"type": "Embedded"}, "dtype": "Auto"},
        "resources": {"accelerator": {"type": "CPU"}, "memory": "1Gi"},
        "networking": {"openAIPort": 8000},
    },
}
KILL_A_WORKER = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"-m\\0vajra.worker" in path.read_bytes():
        os.kill(int(path.parent.name), signal.SIGKILL)
"""


class Served:
    """A VajraDeployment that serves, and clients that ask it."""

    def __init__(self, kubectl: Kubectl, traffic: Traffic) -> None:
        self.kubectl = kubectl
        self.traffic = traffic

    def pods(self, role: str) -> dict[str, dict[str, Any]]:
        """Its pods by UID, leaders or gateways; those that leave are not among them."""
        found = self.kubectl.find("pods", f"{LABEL}={NAME},{role}")
        return {each["metadata"]["uid"]: each for each in found if "deletionTimestamp" not in each["metadata"]}

    def status(self) -> dict[str, Any]:
        """Its status, which speaks of the newest generation. AssertionError while it does not."""
        found = self.kubectl.get("vajradeployment", NAME)
        status: dict[str, Any] = found.get("status", {})
        assert status.get("observedGeneration") == found["metadata"]["generation"]
        return status

    def wait_ready(self) -> None:
        """Returns when it is Ready with as many replicas as it asks for, and no pod is left over."""

        def check() -> None:
            wanted = self.kubectl.get("vajradeployment", NAME)["spec"]["replicas"]
            status = self.status()
            ready = next(each for each in status["conditions"] if each["type"] == "Ready")
            assert ready["status"] == "True", f"{ready['reason']}: {ready['message']}"
            for role, count in ((LEADER, wanted), (GATEWAY, 2)):
                assert len(self.kubectl.find("pods", f"{LABEL}={NAME},{role}")) == count

        eventually(check, seconds=READY_SECONDS, interval=0.5)

    def patch(self, **spec: Any) -> None:
        """Changes the spec."""
        self.kubectl.patch("vajradeployment", NAME, {"spec": spec})

    def on(self, node: str, role: str) -> list[str]:
        """Names of its pods on a node."""
        pods = self.pods(role).values()
        return [each["metadata"]["name"] for each in pods if each["spec"].get("nodeName") == node]


@pytest.fixture(scope="module")
def served(cluster: Cluster, operator: None) -> Iterator[Served]:
    """Two replicas of the embedded model on two nodes, asked all the time from the first node."""
    kubectl = cluster.kubectl.within(f"test-{secrets.token_hex(4)}")
    kubectl("create", "namespace", kubectl.namespace)
    try:
        kubectl.apply(MANIFEST)
        served = Served(kubectl, Traffic(kubectl))
        served.wait_ready()
        served.traffic.start(NAME, MODEL, nodes(cluster.kubectl)[0])
        yield served
    finally:
        kubectl.delete("namespace", kubectl.namespace, wait=False)


def expect_no_failure(counts: Counts, what: str) -> None:
    print(f"{what}: {counts}")
    assert counts.of("failed", "lost", "different") == []


def test_both_apis_answer_through_the_service(served: Served) -> None:
    status = served.status()
    host = f"{NAME}.{served.kubectl.namespace}.svc"
    assert status["endpoint"] == {"grpc": f"{host}:8471", "openAI": f"http://{host}:8000/v1"}
    assert status["accelerator"] == "CPU"
    with served.traffic.during() as counts:
        pass
    expect_no_failure(counts, "nothing happens")
    assert {request.client.split("-")[0] for request in counts.requests} == {"grpc", "openai"}


def test_a_live_change_is_taken_over_in_place(served: Served) -> None:
    before = {**served.pods(LEADER), **served.pods(GATEWAY)}
    with served.traffic.during() as counts:
        served.patch(scheduler={"type": "FixedChunk", "fixedChunk": {"chunkSize": 64}})
        served.wait_ready()
    assert served.pods(LEADER).keys() | served.pods(GATEWAY).keys() == before.keys()
    expect_no_failure(counts, "live change")


def test_a_new_revision_rolls(served: Served) -> None:
    before = {**served.pods(LEADER), **served.pods(GATEWAY)}
    revision = served.status()["currentRevision"]
    with served.traffic.during() as counts:
        served.patch(model={"maxModelLen": 2048})
        served.wait_ready()
    assert served.status()["currentRevision"] != revision
    assert not before.keys() & (served.pods(LEADER).keys() | served.pods(GATEWAY).keys())
    expect_no_failure(counts, "rolling change")


def test_workers_are_started_again_in_place(served: Served) -> None:
    before = served.pods(LEADER)
    victim = next(iter(before.values()))["metadata"]["name"]
    with served.traffic.during() as counts:
        served.kubectl.execute(victim, "python", "-c", KILL_A_WORKER)

        def counted() -> None:
            recovery = served.status()["recovery"]
            assert recovery["workerRestarts"] == 1
            assert recovery["lastFault"]["action"] == "RestartedWorkers"

        eventually(counted)
        served.wait_ready()
    assert served.pods(LEADER).keys() == before.keys()
    expect_no_failure(counts, "worker SIGKILL")


@pytest.mark.parametrize("how", ["politely", "by force"])
def test_a_replica_that_is_deleted_comes_back(served: Served, how: str) -> None:
    uid, victim = next(iter(served.pods(LEADER).items()))
    force = ["--grace-period=0", "--force"] if how == "by force" else ["--wait=false"]
    with served.traffic.during() as counts:
        served.kubectl("delete", "pod", victim["metadata"]["name"], *force)
        served.wait_ready()
    assert uid not in served.pods(LEADER)
    expect_no_failure(counts, f"replica pod deleted {how}")


def test_a_gateway_that_is_deleted_finishes_its_answers(served: Served) -> None:
    uid, victim = next(iter(served.pods(GATEWAY).items()))
    with served.traffic.during() as counts:
        served.kubectl("delete", "pod", victim["metadata"]["name"], "--wait=false")
        served.wait_ready()
    assert uid not in served.pods(GATEWAY)
    expect_no_failure(counts, "gateway pod deleted")


def test_a_gateway_that_dies_takes_only_its_own_streams_along(served: Served) -> None:
    victim = next(iter(served.pods(GATEWAY).values()))["metadata"]["name"]
    with served.traffic.during() as counts:
        served.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        served.wait_ready()
    print(f"gateway killed: {counts}")
    assert counts.of("failed", "different") == []


def test_scaling_takes_no_request_along(served: Served) -> None:
    with served.traffic.during() as counts:
        for replicas in (3, 1, 2):
            served.kubectl("scale", f"vajradeployment/{NAME}", f"--replicas={replicas}")
            served.wait_ready()
    expect_no_failure(counts, "scaled to 3, 1, 2")


def test_a_node_is_drained(cluster: Cluster, served: Served) -> None:
    node = nodes(cluster.kubectl)[1]
    served_there = served.on(node, LEADER) + served.on(node, GATEWAY)
    assert served_there
    try:
        with served.traffic.during() as counts:
            drain = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"]
            selector = f"--pod-selector={LABEL}={NAME}"
            cluster.kubectl("drain", node, *drain, selector, seconds=160)
            served.wait_ready()
        assert not served.on(node, LEADER) + served.on(node, GATEWAY)
        expect_no_failure(counts, "kubectl drain")
    finally:
        cluster.kubectl("uncordon", node)


def test_an_eviction_waits_for_the_one_before(served: Served) -> None:
    with served.traffic.during() as counts:
        for pod in served.pods(LEADER).values():
            evict(served.kubectl, pod["metadata"]["name"])
        served.wait_ready()
    expect_no_failure(counts, "all replicas evicted, one after the other")


def evict(kubectl: Kubectl, pod: str) -> None:
    """Asks for it until it is granted."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"

    def granted() -> None:
        try:
            kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
        except KubectlError as error:
            if "disruption budget" in str(error):
                raise AssertionError("not granted yet") from error
            raise

    eventually(granted, seconds=READY_SECONDS, interval=1)


def test_serving_needs_no_operator(cluster: Cluster, served: Served) -> None:
    operator = cluster.kubectl.within(operator_install.NAMESPACE)
    with served.traffic.during() as counts:
        operator("scale", "deployment/vajra-operator", "--replicas=0")
        operator.wait("delete", "pod", "--selector=app.kubernetes.io/name=vajra-operator")
        victim = next(iter(served.pods(LEADER).values()))["metadata"]["name"]
        served.kubectl.execute(victim, "python", "-c", KILL_A_WORKER)
        with served.traffic.during():
            pass
        operator("scale", "deployment/vajra-operator", "--replicas=2")
        served.wait_ready()
    expect_no_failure(counts, "no operator, and a worker SIGKILL")


def test_a_node_that_is_lost_takes_only_its_gateways_streams_along(cluster: Cluster, served: Served) -> None:
    node = nodes(cluster.kubectl)[1]
    assert served.on(node, LEADER), "the lost node has a replica"
    with served.traffic.during() as counts:
        with partition(cluster, node):
            served.wait_ready()
            assert not served.on(node, LEADER)
        served.wait_ready()
    print(f"node lost: {counts}")
    assert counts.of("failed", "different") == []


def test_the_only_replica_is_waited_for(served: Served) -> None:
    served.kubectl("scale", f"vajradeployment/{NAME}", "--replicas=1")
    served.wait_ready()
    (victim,) = served.pods(LEADER).values()
    with served.traffic.during() as counts:
        served.kubectl("delete", "pod", victim["metadata"]["name"], "--grace-period=0", "--force")
        served.wait_ready()
    expect_no_failure(counts, "the only replica deleted by force")


def test_nothing_stays_when_it_is_deleted(served: Served) -> None:
    served.kubectl.delete("pod", "clients")
    served.kubectl.delete("vajradeployment", NAME)
    kinds = ",".join(
        [f"{kind.plural}.{kind.group}".rstrip(".") for kind in CHILDREN] + ["endpointslices", "replicasets"]
    )

    def nothing() -> None:
        assert [each["metadata"]["name"] for each in served.kubectl.find(",".join(kinds), f"{LABEL}={NAME}")] == []

    eventually(nothing, seconds=60)

"""From nothing to a served model, and what clients see of all that happens to it later: nothing.

The tests follow one another: each begins with what the one before left, two replicas and two gateways that serve.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import operator_install, prometheus
from tests.cluster.cluster import Cluster, nodes, partition
from tests.cluster.deployed import NAME
from tests.cluster.images import MODEL
from tests.cluster.overflow import overflowing
from tests.cluster.plugin import Plugin
from tests.cluster.prometheus import Prometheus
from tests.cluster.served import GATEWAY, KEYS, LEADER, SPEC, Served, secret
from tests.cluster.traffic import Counts, Traffic
from tests.cluster.waiting import eventually

from vajra.client import AuthenticationError, VajraClient
from vajra.operator.kinds import CHILDREN, LABEL
from vajra.operator.monitoring.dashboard import dashboard

NO_ADDRESS = "pods on kind have no address that this machine reaches"
OPERATOR_PODS = "app.kubernetes.io/name=vajra-operator"


@pytest.fixture(scope="module")
def served(cluster: Cluster, operator: None) -> Iterator[Served]:
    """Two replicas of the embedded model on two nodes, asked all the time from the first node."""
    kubectl = cluster.kubectl.within(f"test-{secrets.token_hex(4)}")
    kubectl("create", "namespace", kubectl.namespace)
    try:
        served = Served(kubectl, Traffic(kubectl))
        kubectl.apply(secret({**KEYS, "former": "f0e5"}))
        served.apply(SPEC)
        served.wait_ready()
        served.traffic.start(NAME, MODEL, nodes(cluster.kubectl)[0], (KEYS["rpc"], KEYS["web"]))
        yield served
    finally:
        kubectl.delete("namespace", kubectl.namespace, wait=False)


def expect_no_failure(counts: Counts, what: str, *, losing_streams: bool = False) -> None:
    """losing_streams: an answer that had begun may end with the gateway that it came through."""
    print(f"{what}: {counts}")
    assert counts.of("failed", "different", *([] if losing_streams else ["lost"])) == []


def test_both_apis_answer_through_the_service(served: Served) -> None:
    status = served.status()
    host = f"{NAME}.{served.kubectl.namespace}.svc"
    assert status["endpoint"] == {"grpc": f"{host}:8471", "openAI": f"http://{host}:8000/v1"}
    assert status["accelerator"] == "CPU"
    with served.traffic.during() as counts:
        pass
    expect_no_failure(counts, "nothing happens")
    assert {request.client.split("-")[0] for request in counts.requests} == {"grpc", "openai"}


@pytest.mark.skipif(os.environ.get("VAJRA_CLUSTER") == "kind", reason=NO_ADDRESS)
def test_gateways_ask_for_the_keys_of_a_secret_and_take_another_one_up(served: Served) -> None:
    gateways = served.pods(GATEWAY)
    asked = {"rpc": KEYS["rpc"], "former": "f0e5", "later": "1a7e", "nobody": ""}

    def expect(*admitted: str) -> None:
        for gateway in gateways.values():
            for name, key in asked.items():
                assert admits(gateway["status"]["podIP"], key) == (name in admitted), name

    expect("rpc", "former")
    with served.traffic.during() as counts:
        served.secret_changes({**KEYS, "later": asked["later"]})
        eventually(lambda: expect("rpc", "later"), interval=1)
    containers = [each for pod in served.pods(GATEWAY).values() for each in pod["status"]["containerStatuses"]]
    assert served.pods(GATEWAY).keys() == gateways.keys()
    assert not any(each["restartCount"] for each in containers)
    expect_no_failure(counts, "another Secret")


def admits(address: str, key: str) -> bool:
    """What a gateway says to a key over both of its APIs; they agree."""
    request = urllib.request.Request(f"http://{address}:8000/v1/models", headers={"Authorization": f"Bearer {key}"})
    try:
        urllib.request.urlopen(request, timeout=30).close()
        status = 200
    except urllib.error.HTTPError as refusal:
        status = refusal.code
    with VajraClient(f"{address}:8471", api_key=key, timeout=30) as client:
        try:
            client.get_model()
        except AuthenticationError:
            assert status == 401
            return False
    assert status == 200
    return True


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
    with served.traffic.during() as counts:
        served.kill_a_worker()

        def counted() -> None:
            recovery = served.status()["recovery"]
            assert recovery["workerRestarts"] == 1
            assert recovery["lastFault"]["action"] == "RestartedWorkers"

        eventually(counted)
        served.wait_ready()
    assert served.pods(LEADER).keys() == before.keys()
    expect_no_failure(counts, "worker SIGKILL")


def test_a_replica_that_may_not_start_workers_again_is_replaced(served: Served) -> None:
    before = served.pods(LEADER)
    served.patch(recovery={"workerRestartLimit": 0})
    served.wait_ready()
    with served.traffic.during() as counts:
        served.kill_a_worker()

        def counted() -> None:
            recovery = served.status()["recovery"]
            assert recovery["groupRestarts"] == 1
            assert (recovery["lastFault"]["reason"], recovery["lastFault"]["action"]) == ("ReplicaFailed", "Recreated")

        eventually(counted)
        served.wait_ready()
    assert len(served.pods(LEADER).keys() & before.keys()) == 1
    expect_no_failure(counts, "worker SIGKILL without a restart left")
    served.patch(recovery=None)
    served.wait_ready()


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


def test_a_gateway_that_dies_takes_only_its_own_streams_along(cluster: Cluster, served: Served) -> None:
    victim = next(iter(served.pods(GATEWAY).values()))
    with served.traffic.during() as counts:
        (container,) = victim["status"]["containerStatuses"]
        cluster.kill(victim["spec"]["nodeName"], container["containerID"].removeprefix("containerd://"))

        def restarted() -> None:
            (now,) = served.pods(GATEWAY)[victim["metadata"]["uid"]]["status"]["containerStatuses"]
            assert now["restartCount"] == 1

        eventually(restarted)
        served.wait_ready()
    expect_no_failure(counts, "gateway SIGKILL", losing_streams=True)


def test_scaling_takes_no_request_along(served: Served) -> None:
    with served.traffic.during() as counts:
        for replicas in (3, 1, 2):
            served.kubectl("scale", f"vajradeployment/{NAME}", f"--replicas={replicas}")
            served.wait_ready()
    expect_no_failure(counts, "scaled to 3, 1, 2")


def test_the_plugin_reads_logs_and_numbers_and_takes_a_replica_out(served: Served) -> None:
    plugin = Plugin(served.kubectl)
    replica = next(iter(served.pods(LEADER).values()))["metadata"]["labels"]["vajra.ai/replica-index"]
    assert "listening on" in plugin("logs", NAME, "--rank", "0", "--replica", replica)
    assert {json.loads(line)["pod"] for line in plugin("logs", NAME, "--gateway", "-o", "json").splitlines()} == {
        pod["metadata"]["name"] for pod in served.pods(GATEWAY).values()
    }

    def busy() -> None:
        top = plugin.json("top", NAME)
        assert sum(each["running"] for each in top["replicas"]) > 0
        assert sum(each["tokensRate"] for each in top["gateways"]) > 0
        assert all(each["kvBlocks"] > each["kvBlocksUsed"] >= 0 for each in top["replicas"])
        assert top["notes"] == []

    eventually(busy)
    before = served.pods(LEADER)
    with served.traffic.during() as counts:
        assert f"Serving: replica {replica} has left" in plugin("drain", NAME, replica)
        served.wait_ready()
    assert len(served.pods(LEADER).keys() & before.keys()) == 1
    expect_no_failure(counts, "kubectl vajra drain")


def test_a_node_that_is_lost_takes_only_its_gateways_streams_along(cluster: Cluster, served: Served) -> None:
    first, node = nodes(cluster.kubectl)
    served.occupy(node, [first])
    with served.traffic.during() as counts:
        with partition(cluster, node):
            served.wait_ready(lost=node)
            assert not served.on(node, LEADER)
        served.wait_ready()
    expect_no_failure(counts, "node lost", losing_streams=True)


def test_a_node_is_drained(cluster: Cluster, served: Served) -> None:
    first, node = nodes(cluster.kubectl)
    served.occupy(node, [first])
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
            served.evict(pod["metadata"]["name"])
        served.wait_ready()
    expect_no_failure(counts, "all replicas evicted, one after the other")


def test_serving_needs_no_operator(cluster: Cluster, served: Served) -> None:
    before = {**served.pods(LEADER), **served.pods(GATEWAY)}
    with served.traffic.during() as counts:
        operator_install.uninstall(cluster)
        assert served.status()["readySummary"] == "2/2", "what was deployed went with the chart"
        served.kill_a_worker()
        with served.traffic.during():
            pass
        operator_install.install(cluster)
        served.wait_ready()
    assert served.pods(LEADER).keys() | served.pods(GATEWAY).keys() == before.keys()
    expect_no_failure(counts, "the chart uninstalled, a worker SIGKILL, and installed again")


def test_an_upgrade_of_the_chart_rolls_nothing(cluster: Cluster, served: Served) -> None:
    before = {**served.pods(LEADER), **served.pods(GATEWAY)}
    with served.traffic.during() as counts:
        operator_install.upgrade(cluster, "0.2.0")
        served.wait_ready()
    crd = cluster.kubectl.get("crd", "vajradeployments.vajra.ai")
    assert crd["metadata"]["labels"]["helm.sh/chart"] == "vajra-operator-0.2.0"
    assert served.pods(LEADER).keys() | served.pods(GATEWAY).keys() == before.keys()
    expect_no_failure(counts, "chart upgraded")


def test_the_only_replica_is_waited_for(served: Served) -> None:
    served.kubectl("scale", f"vajradeployment/{NAME}", "--replicas=1")
    served.wait_ready()
    (victim,) = served.pods(LEADER).values()
    with served.traffic.during() as counts:
        served.kubectl("delete", "pod", victim["metadata"]["name"], "--grace-period=0", "--force")
        served.wait_ready()
    expect_no_failure(counts, "the only replica deleted by force")


@pytest.mark.usefixtures("prometheus")
def test_alerts_of_serving_fire_while_nothing_serves(cluster: Cluster, served: Served, tmp_path: Path) -> None:
    if os.environ.get("VAJRA_CLUSTER") == "kind":
        pytest.skip(NO_ADDRESS)
    pods = [pod for role in (LEADER, GATEWAY) for pod in served.pods(role).values()]
    pods += cluster.kubectl.within(operator_install.NAMESPACE).find("pods", OPERATOR_PODS)
    targets = tmp_path / "targets.json"
    prometheus.write_targets(targets, prometheus.pod_targets(pods))
    labels = {"namespace": served.kubectl.namespace, "vajradeployment": NAME}
    alerts = ("VajraDeploymentUnavailable", "VajraRequestsQueued", "VajraGatewayErrors")
    (leader,), gateway = served.pods(LEADER).values(), next(iter(served.pods(GATEWAY).values()))
    jobs = prometheus.scrape_configs(targets)
    with prometheus.running(tmp_path, jobs) as running, served.traffic.during() as counts:
        eventually(lambda: expect_all_panels(running), interval=1)
        cluster.kubectl("cordon", *nodes(cluster.kubectl))
        try:
            served.kubectl("delete", "pod", leader["metadata"]["name"], "--grace-period=0", "--force")
            with overflowing(f"{gateway['status']['podIP']}:8000", KEYS["web"]):
                fired = {alert: running.expect_firing(alert, **labels) for alert in alerts}
        finally:
            cluster.kubectl("uncordon", *nodes(cluster.kubectl))
        served.wait_ready()
        for alert in alerts:
            running.expect_quiet(alert, **labels)
    assert "Unschedulable" in fired["VajraDeploymentUnavailable"]["annotations"]["description"]
    expect_no_failure(counts, "no replica for a while")


def expect_all_panels(running: Prometheus) -> None:
    """Every query of the dashboard has something to show."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expression = re.sub(r"\$(namespace|deployment|operator)\b", ".*", target["expr"])
            found = running.query(expression.replace("$__rate_interval", "5s"))
            assert found, f"{panel['title']}: {expression}"


def test_nothing_stays_when_it_is_deleted(served: Served) -> None:
    served.kubectl.delete("pod", "clients")
    served.kubectl.delete("vajradeployment", NAME)
    kinds = [f"{kind.plural}.{kind.group}".rstrip(".") for kind in CHILDREN]
    everything = ",".join([*kinds, "endpointslices", "replicasets"])

    def nothing() -> None:
        assert [each["metadata"]["name"] for each in served.kubectl.find(everything, f"{LABEL}={NAME}")] == []

    eventually(nothing, seconds=60)

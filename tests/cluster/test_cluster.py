"""The clusters themselves: what the other tests here rest on is there and real."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.api import Api
from tests.cluster.cluster import GPU, Cluster, gpus, is_ready, nodes, partition
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.manifests import pod, service
from tests.cluster.waiting import eventually

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
RESOLVE = "import socket, sys; print(*sorted({a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80)}))"


def web(name: str, node: str) -> dict[str, Any]:
    """A pod that serves its own name at port 8000, and is ready when it does."""
    serve = "echo $HOSTNAME > /tmp/index.html; exec python -m http.server 8000 --directory /tmp"
    probe = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}
    manifest = pod(name, "sh", "-c", serve, container=probe, nodeName=node, hostname=name, subdomain="peers")
    manifest["metadata"]["labels"]["serves"] = "web"
    return manifest


def test_the_api_server_keeps_objects_and_refuses_what_it_does_not_know(api: Api, kubectl: Kubectl) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "value"}}
    kubectl.apply(config)
    assert kubectl.get("configmap", "a")["data"] == {"key": "value"}
    with pytest.raises(KubectlError, match='unknown field "date"'):
        kubectl.apply({**config, "date": {}})


def test_what_an_object_owns_goes_with_it(api: Api, kubectl: Kubectl) -> None:
    if not api.has_controllers:
        pytest.skip("these binaries have no controller manager, which collects what is owned")
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    kubectl.apply({**config, "metadata": {"name": "owner"}})
    owner = {**config, "name": "owner", "uid": kubectl.get("configmap", "owner")["metadata"]["uid"]}
    kubectl.apply({**config, "metadata": {"name": "owned", "ownerReferences": [owner]}})
    kubectl.delete("configmap", "owner")
    kubectl.wait("delete", "configmap/owned")


def test_pods_of_two_nodes_find_one_another(cluster: Cluster, kubectl: Kubectl) -> None:
    first, second = nodes(cluster.kubectl)
    selector = {"serves": "web"}
    kubectl.apply(service("web", selector, 80, 8000), service("peers", selector, 80, 8000, clusterIP="None"))
    kubectl.apply(web("a", first), web("b", second))
    kubectl.wait("condition=Ready", "pod/a", "pod/b")
    address = {name: kubectl.get("pod", name)["status"]["podIP"] for name in ("a", "b")}
    for here, there in (("a", "b"), ("b", "a")):
        for host in (address[there], f"{there}.peers"):
            assert kubectl.execute(here, "python", "-c", FETCH, f"http://{host}:8000/index.html") == f"{there}\n"

    def resolved() -> None:
        assert kubectl.execute("a", "python", "-c", RESOLVE, "peers").split() == sorted(address.values())

    def reached() -> None:
        """The Service's own address leads to each of its pods, also to the one that calls."""
        answers = [kubectl.execute("a", "python", "-c", FETCH, "http://web/index.html") for _ in range(10)]
        assert set(answers) == {"a\n", "b\n"}

    eventually(resolved)
    eventually(reached)


def test_a_pod_reaches_the_api_server_and_this_machine(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(pod("a", "sleep", "infinity"))
    kubectl.wait("condition=Ready", "pod/a")
    ask = (
        "import ssl, urllib.request;"
        "trust = ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt');"
        "print(urllib.request.urlopen('https://kubernetes.default/version', context=trust).status)"
    )
    assert kubectl.execute("a", "python", "-c", ask) == "200\n"
    kubectl.execute("a", "python", "-c", f"import socket; socket.create_connection(('{cluster.host}', 53), 5)")


def test_a_node_that_is_cut_off_is_not_ready(cluster: Cluster, kubectl: Kubectl) -> None:
    first, second = nodes(cluster.kubectl)
    kubectl.apply(web("a", first), web("b", second))
    kubectl.wait("condition=Ready", "pod/a", "pod/b")
    call = ("python", "-c", FETCH, f"http://{kubectl.get('pod', 'b')['status']['podIP']}:8000/index.html")
    assert kubectl.execute("a", *call) == "b\n"
    with partition(cluster, second):
        assert is_ready(cluster.kubectl, first)
        with pytest.raises(KubectlError):
            kubectl.execute("a", *call)
        kubectl.wait("condition=Ready=false", "pod/b")
    kubectl.wait("condition=Ready", "pod/b")
    assert kubectl.execute("a", *call) == "b\n"


def test_pods_are_placed_by_their_gpus(cluster: Cluster, kubectl: Kubectl) -> None:
    def asking(name: str, count: int) -> dict[str, Any]:
        return pod(name, "sleep", "infinity", container={"resources": {"limits": {GPU: count}}})

    with gpus(cluster, 8):
        kubectl.apply(asking("a", 8))
        kubectl.wait("condition=Ready", "pod/a")
        kubectl.apply(asking("b", 6))
        kubectl.wait("condition=Ready", "pod/b")
        assert sorted(kubectl.get("pod", name)["spec"]["nodeName"] for name in "ab") == nodes(cluster.kubectl)
        kubectl.apply(asking("c", 4))
        kubectl.wait("condition=PodScheduled=false", "pod/c")
        conditions = {c["type"]: c["message"] for c in kubectl.get("pod", "c")["status"]["conditions"]}
        assert f"Insufficient {GPU}" in conditions["PodScheduled"]
        kubectl.delete("pod", "a")
        kubectl.wait("condition=Ready", "pod/c")

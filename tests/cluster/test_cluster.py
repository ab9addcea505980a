"""The clusters themselves: what the other tests here rest on is there and real."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.api import Api
from tests.cluster.cluster import GPU, Cluster, gpus, is_ready, nodes, partition
from tests.cluster.images import BASE
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.waiting import eventually


def pod(name: str, *command: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod with one container of Python."""
    limits = spec.pop("limits", {})
    container = {"name": "main", "image": BASE, "imagePullPolicy": "IfNotPresent", "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [container | {"resources": {"limits": limits}}],
            **spec,
        },
    }


def serving(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that serves its own name at port 8000, and is ready when it does."""
    serve = "echo $HOSTNAME > /tmp/index.html; exec python -m http.server 8000 --directory /tmp"
    manifest = pod(name, "sh", "-c", serve, labels={"app": "web"}, hostname=name, **spec)
    manifest["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    return manifest


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8000}]
    spec = {"selector": {"app": "web"}, "ports": ports} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
RESOLVE = "import socket, sys; print(*sorted({a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80)}))"


def test_the_api_server_keeps_objects_and_checks_them(api: Api, kubectl: Kubectl) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "value"}}
    kubectl.apply(config)
    assert kubectl.get("configmap", "a")["data"] == {"key": "value"}
    with pytest.raises(KubectlError, match="unknown field"):
        kubectl.apply({**config, "dat": {}})
    if api.has_controllers:
        owner = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "a",
            "uid": kubectl.get("configmap", "a")["metadata"]["uid"],
        }
        kubectl.apply({**config, "metadata": {"name": "owned", "ownerReferences": [owner]}})
        kubectl.delete("configmap", "a")
        kubectl.wait("delete", "configmap/owned")


def test_pods_on_each_node_find_one_another(cluster: Cluster, kubectl: Kubectl) -> None:
    names = nodes(cluster.kubectl)
    assert len(names) == 2
    pods = [serving(f"web-{node}", nodeName=node, subdomain="peers") for node in names]
    kubectl.apply(service("web"), service("peers", clusterIP="None"), *pods)
    kubectl.wait("condition=Ready", *(f"pod/web-{node}" for node in names))

    addresses = {node: kubectl.get("pod", f"web-{node}")["status"]["podIP"] for node in names}
    for here in names:
        for there in names:  # by address, and by name of a headless service
            for host in (addresses[there], f"web-{there}.peers"):
                answer = kubectl.execute(f"web-{here}", "python", "-c", FETCH, f"http://{host}:8000/index.html")
                assert answer == f"web-{there}\n"

    def all_resolved() -> None:
        assert kubectl.execute(f"web-{names[0]}", "python", "-c", RESOLVE, "peers").split() == sorted(
            addresses.values()
        )

    def all_reached() -> None:
        """A Service's own address leads to each of its pods, also to the one that calls."""
        fetch = (kubectl.execute(f"web-{names[0]}", "python", "-c", FETCH, "http://web/index.html") for _ in range(20))
        assert {answer.strip() for answer in fetch} == {f"web-{node}" for node in names}

    eventually(all_resolved)
    eventually(all_reached)


def test_a_pod_talks_to_the_api_server_and_to_this_machine(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(pod("a", "sleep", "infinity"))
    kubectl.wait("condition=Ready", "pod/a")
    trust = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    ask = f"import ssl, urllib.request as u; c = ssl.create_default_context(cafile='{trust}'); " + (
        "print(u.urlopen('https://kubernetes.default/version', context=c).status)"
    )
    assert kubectl.execute("a", "python", "-c", ask) == "200\n"
    reach = "import socket, sys; socket.create_connection((sys.argv[1], 53), 5); print('reached')"
    assert kubectl.execute("a", "python", "-c", reach, cluster.host) == "reached\n"


def test_a_node_that_is_cut_off_is_not_ready(cluster: Cluster, kubectl: Kubectl) -> None:
    first, second = nodes(cluster.kubectl)
    kubectl.apply(*(serving(f"web-{node}", nodeName=node) for node in (first, second)))
    kubectl.wait("condition=Ready", f"pod/web-{first}", f"pod/web-{second}")
    address = kubectl.get("pod", f"web-{second}")["status"]["podIP"]
    call = ("python", "-c", FETCH, f"http://{address}:8000/index.html")
    assert kubectl.execute(f"web-{first}", *call) == f"web-{second}\n"
    with partition(cluster, second):
        assert is_ready(cluster.kubectl, first)
        with pytest.raises(KubectlError):
            kubectl.execute(f"web-{first}", *call)
        kubectl.wait("condition=Ready=false", f"pod/web-{second}")
    kubectl.wait("condition=Ready", f"pod/web-{second}")
    assert kubectl.execute(f"web-{first}", *call) == f"web-{second}\n"


def test_gpus_are_counted(cluster: Cluster, kubectl: Kubectl) -> None:
    with gpus(cluster, 8):
        first, second, third = (
            pod(name, "sleep", "infinity", limits={GPU: n}) for name, n in (("a", 8), ("b", 6), ("c", 4))
        )
        kubectl.apply(first)
        kubectl.wait("condition=Ready", "pod/a")
        kubectl.apply(second)
        kubectl.wait("condition=Ready", "pod/b")
        placed = {name: kubectl.get("pod", name)["spec"]["nodeName"] for name in ("a", "b")}
        assert sorted(placed.values()) == nodes(cluster.kubectl)
        kubectl.apply(third)
        kubectl.wait("condition=PodScheduled=false", "pod/c")
        conditions = {c["type"]: c for c in kubectl.get("pod", "c")["status"]["conditions"]}
        assert f"Insufficient {GPU}" in conditions["PodScheduled"]["message"]
        kubectl.delete("pod", "a")
        kubectl.wait("condition=Ready", "pod/c")

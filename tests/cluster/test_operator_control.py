"""The operator's process and what pods' processes say: live settings, drains, faults. Pods have IPs of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import operator_process
from tests.cluster.api import Api
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import DEPLOYMENT, expect_conditions, owned, set_ready
from tests.cluster.waiting import eventually
from tests.operator.control_server import ControlServer

from vajra.control.v1 import control_pb2
from vajra.operator.kinds import LABEL


@pytest.fixture(autouse=True)
def _operator(api: Api, crd: None, namespace: str, tmp_path: Path) -> Iterator[None]:
    if not api.has_controllers:
        pytest.skip("these binaries have no controller manager, which makes the gateways' pods")
    with operator_process.running(api.kubeconfig, namespace, tmp_path, "--no-leader-elect") as operator:
        operator.wait_until_leading()
        yield


@pytest.fixture
def servers() -> Iterator[dict[str, ControlServer]]:
    """The processes of pods, by pod name; `serve` fills it."""
    servers: dict[str, ControlServer] = {}
    yield servers
    for server in servers.values():
        server.stop()


def serve(kubectl: Kubectl, servers: dict[str, ControlServer], replicas: int) -> None:
    """Waits for the pods and has a process answer for each."""

    def pods() -> list[dict[str, Any]]:
        found = kubectl.find("pods", f"{LABEL}=llama")
        assert len(found) == replicas + 2
        return found

    for pod in eventually(pods):
        name = pod["metadata"]["name"]
        if name not in servers:
            server = servers[name] = ControlServer()
            server.status.workers.add(steps=1)
            server.status.generation = 1
            server.start()
            container = {"name": pod["spec"]["containers"][0]["name"], "image": "i", "imageID": "", "restartCount": 0}
            container |= {"ready": True, "started": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
            status = {"podIP": server.address, "podIPs": [{"ip": server.address}], "containerStatuses": [container]}
            kubectl.patch("pod", name, {"status": status}, subresource="status")
            set_ready(kubectl, name)


def test_a_live_change_reaches_every_process_and_restarts_none(
    kubectl: Kubectl, servers: dict[str, ControlServer]
) -> None:
    kubectl.apply(DEPLOYMENT)
    serve(kubectl, servers, 1)
    expect_conditions(kubectl, Ready="True", ConfigApplied="True")
    before = {name: item["metadata"]["uid"] for name, item in owned(kubectl).items()}
    kubectl.patch("vajradeployment", "llama", {"spec": {"scheduler": {"fixedChunk": {"chunkSize": 512}}}})
    expect_conditions(kubectl, Ready="True", ConfigApplied="True")
    for server in servers.values():
        assert server.update.generation == 2
        assert json.loads(server.update.spec_json)["scheduler"]["fixedChunk"]["chunkSize"] == 512
    assert {name: item["metadata"]["uid"] for name, item in owned(kubectl).items()} == before
    scheduler = {"type": "SpaceSharing", "fixedChunk": None}
    kubectl.patch("vajradeployment", "llama", {"spec": {"scheduler": scheduler, "prioritizer": {"type": "LRS"}}})
    expect_conditions(kubectl, Ready="True", ConfigApplied="True")
    for server in servers.values():
        assert server.update.generation == 3
        told = json.loads(server.update.spec_json)
        assert (told["scheduler"]["type"], told["prioritizer"]["type"]) == ("SpaceSharing", "LRS"), "in one update"
    assert {name: item["metadata"]["uid"] for name, item in owned(kubectl).items()} == before


def test_a_replica_that_goes_is_drained_first_and_the_one_with_the_least_work_goes(
    kubectl: Kubectl, servers: dict[str, ControlServer]
) -> None:
    kubectl.apply(DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"replicas": 2, "drain": {"timeoutSeconds": 77}}})
    serve(kubectl, servers, 2)
    expect_conditions(kubectl, Ready="True")
    servers["llama-1-0"].status.running = 5
    servers["llama-1-0"].wait_until_asked(1)
    kubectl("scale", "vajradeployment", "llama", "--replicas=1")

    def least_work_is_gone() -> None:
        assert {name for name in owned(kubectl) if name.startswith("Pod/")} == {"Pod/llama-1-0"}

    eventually(least_work_is_gone)
    assert servers["llama-0-0"].drain.grace.seconds == 77
    assert not servers["llama-1-0"].drain.HasField("grace")


def test_a_replica_that_gave_up_is_made_again_and_counted(kubectl: Kubectl, servers: dict[str, ControlServer]) -> None:
    kubectl.apply(DEPLOYMENT)
    serve(kubectl, servers, 1)
    expect_conditions(kubectl, Ready="True")
    before = owned(kubectl)["Pod/llama-0-0"]["metadata"]["uid"]
    failed = servers.pop("llama-0-0")
    failed.status.phase = control_pb2.REPLICA_PHASE_FAILED
    failed.status.message = "out of luck"

    def made_again() -> None:
        found = owned(kubectl)
        assert "Pod/llama-0-0" in found
        assert found["Pod/llama-0-0"]["metadata"]["uid"] != before

    eventually(made_again)
    serve(kubectl, servers, 1)
    expect_conditions(kubectl, Ready="True", Degraded="False")
    recovery = kubectl.get("vajradeployment", "llama")["status"]["recovery"]
    assert recovery["groupRestarts"] == 1
    assert "out of luck" in recovery["lastFault"]["message"]
    failed.stop()

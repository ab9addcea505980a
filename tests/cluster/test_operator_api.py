"""The operator's process on an API server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import operator_process
from tests.cluster.api import Api
from tests.cluster.api_proxy import ApiProxy, Refusal
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import (
    DEPLOYMENT,
    KINDS,
    OBJECTS,
    expect_conditions,
    expect_objects,
    owned,
    rests,
    set_all_ready,
    set_ready,
)
from tests.cluster.operator_process import IMAGE, OperatorProcess
from tests.cluster.waiting import eventually

from vajra.operator.cluster import login
from vajra.operator.kinds import LABEL

pytestmark = pytest.mark.usefixtures("crd")


@pytest.fixture
def controllers(api: Api) -> None:
    """Someone makes a Deployment's pods and collects what an owner leaves."""
    if not api.has_controllers:
        pytest.skip("these binaries have no controller manager")


@pytest.fixture
def operator(api: Api, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    with operator_process.running(api.kubeconfig, namespace, tmp_path, "--no-leader-elect") as running:
        running.wait_until_leading()
        yield running


@pytest.fixture
def proxy(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiProxy]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    with ApiProxy(login()) as proxy:
        yield proxy


def test_objects_appear_and_belong_to_the_deployment(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    deployment = kubectl.get("vajradeployment", "llama")
    assert deployment["metadata"].keys().isdisjoint({"annotations", "finalizers"})
    for name, item in owned(kubectl).items():
        (reference,) = item["metadata"]["ownerReferences"]
        assert reference["uid"] == deployment["metadata"]["uid"], name
    assert owned(kubectl)["Pod/llama-0-0"]["spec"]["containers"][0]["image"] == IMAGE


@pytest.mark.usefixtures("controllers")
def test_status_tells_why_it_waits_then_that_it_serves(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    expect_conditions(kubectl, Ready="False", Accepted="True")
    set_all_ready(kubectl)
    expect_conditions(kubectl, Ready="True", Available="True", Progressing="False", Degraded="False")
    assert kubectl.get("vajradeployment", "llama")["status"]["readySummary"] == "1/1"
    set_ready(kubectl, "llama-0-0", ready=False)
    expect_conditions(kubectl, Ready="False", Available="False")
    assert "Serving" in kubectl("describe", "vajradeployment", "llama")


def test_an_edit_changes_what_it_names(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl.patch("vajradeployment", "llama", {"spec": {"networking": {"openAIPort": 8000}}})

    def has_port() -> None:
        ports = {port["port"] for port in kubectl.get("service", "llama")["spec"]["ports"]}
        assert ports == {8471, 8000}

    eventually(has_port)
    kubectl.patch("vajradeployment", "llama", {"spec": {"networking": {"openAIPort": None}}})

    def has_none() -> None:
        assert {port["port"] for port in kubectl.get("service", "llama")["spec"]["ports"]} == {8471}

    eventually(has_none)


def test_scaling_makes_and_takes_replicas(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl("scale", "vajradeployment", "llama", "--replicas=3")
    expect_objects(kubectl, "Pod/llama-1-0", "Pod/llama-2-0")
    shown = json.loads(kubectl("get", "vajradeployment", "llama", "--show-managed-fields", "-o", "json"))
    ours = [entry for entry in shown["metadata"]["managedFields"] if entry["manager"] == "vajra-operator"]
    assert [set(entry["fieldsV1"]) for entry in ours] == [{"f:status"}], (
        "spec.replicas belongs to users and autoscalers"
    )
    kubectl("scale", "vajradeployment", "llama", "--replicas=1")
    expect_objects(kubectl)


@pytest.mark.usefixtures("controllers")
def test_a_deleted_deployment_leaves_nothing(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl.delete("vajradeployment", "llama")

    def nothing() -> None:
        assert kubectl.find(KINDS, f"{LABEL}=llama") == []

    eventually(nothing)


@pytest.mark.usefixtures("controllers")
def test_a_deployment_made_anew_under_the_same_name_gets_objects_of_its_own(
    operator: OperatorProcess, kubectl: Kubectl
) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl.delete("vajradeployment", "llama")
    kubectl.apply(DEPLOYMENT)
    uid = kubectl.get("vajradeployment", "llama")["metadata"]["uid"]

    def its_own() -> None:
        found = owned(kubectl)
        assert set(found) == OBJECTS
        assert {item["metadata"]["ownerReferences"][0]["uid"] for item in found.values()} == {uid}

    eventually(its_own)


def test_what_someone_deletes_or_changes_is_put_right(operator: OperatorProcess, kubectl: Kubectl) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl.delete("service", "llama-leaders")
    kubectl.patch("service", "llama", {"spec": {"selector": {LABEL: "other"}}})

    def right() -> None:
        assert kubectl.get("service", "llama")["spec"]["selector"][LABEL] == "llama"

    eventually(right)
    expect_objects(kubectl)


def test_a_spec_that_this_version_cannot_serve_is_refused_by_name_and_what_runs_goes_on(
    operator: OperatorProcess, kubectl: Kubectl
) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    kubectl.patch("vajradeployment", "llama", {"spec": {"placement": {"queueName": "q"}}})
    expect_conditions(kubectl, Accepted="False", Ready="False")
    conditions = kubectl.get("vajradeployment", "llama")["status"]["conditions"]
    (accepted,) = [each for each in conditions if each["type"] == "Accepted"]
    assert "spec.placement.queueName" in accepted["message"]
    expect_objects(kubectl)


@pytest.mark.usefixtures("controllers")
def test_every_object_is_written_once_and_looking_again_writes_nothing(
    kubectl: Kubectl, namespace: str, proxy: ApiProxy, tmp_path: Path
) -> None:
    kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
    arguments = ("--no-leader-elect", "--resync-seconds", "1")
    with operator_process.running(kubeconfig, namespace, tmp_path, *arguments) as operator:
        operator.wait_until_leading()
        kubectl.apply(DEPLOYMENT)
        set_all_ready(kubectl)
        expect_conditions(kubectl, Ready="True")
        assert rests(operator, proxy)
        assert operator.stop() == 0
    settled = list(proxy.writes)
    of_objects = [call.path for call in settled if not call.path.endswith("/status") and "/events" not in call.path]
    assert len(of_objects) == len(OBJECTS), f"something was written more than once: {of_objects}"
    with operator_process.running(kubeconfig, namespace, tmp_path, *arguments) as operator:
        assert rests(operator, proxy)
        assert proxy.writes == settled, "a new operator wrote although nothing was new"


def test_of_two_operators_one_works_and_the_other_follows_it(
    api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    with (
        operator_process.running(api.kubeconfig, namespace, tmp_path) as first,
        operator_process.running(api.kubeconfig, namespace, tmp_path) as second,
    ):
        leader, follower = eventually(lambda: _leader_and_follower(first, second))
        assert follower.answer("/readyz")[0] == 200
        kubectl.apply(DEPLOYMENT)
        expect_objects(kubectl)
        assert follower.metric("rest_client_requests_total") == 0
        leader.kill()
        kubectl("scale", "vajradeployment", "llama", "--replicas=2")
        expect_objects(kubectl, "Pod/llama-1-0")
        assert follower.leads
        assert follower.stop() == 0
    assert kubectl.get("lease", "vajra-operator")["spec"].get("holderIdentity", "") == ""


def _leader_and_follower(first: OperatorProcess, second: OperatorProcess) -> tuple[OperatorProcess, OperatorProcess]:
    assert first.leads != second.leads, f"{first.tail()}\n{second.tail()}"
    leader, follower = (first, second) if first.leads else (second, first)
    assert follower.answer("/metrics")[0] == 200, "it has not started"
    return leader, follower


def test_an_operator_that_lost_its_lease_ends(api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    with operator_process.running(api.kubeconfig, namespace, tmp_path) as operator:
        operator.wait_until_leading()
        kubectl.patch("lease", "vajra-operator", {"spec": {"holderIdentity": "another"}})
        assert operator.process.wait(60) == 1
        assert "another holds the lease" in operator.tail()


def test_sigterm_ends_one_that_waits_for_its_turn(api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    with (
        operator_process.running(api.kubeconfig, namespace, tmp_path) as first,
        operator_process.running(api.kubeconfig, namespace, tmp_path) as second,
    ):
        leader, follower = eventually(lambda: _leader_and_follower(first, second))
        assert follower.stop() == 0
        assert leader.leads


def test_without_the_crd_it_waits_and_says_so(
    api: Api, kubectl: Kubectl, namespace: str, proxy: ApiProxy, tmp_path: Path
) -> None:
    proxy.before = lambda call: Refusal(404, "NotFound") if call.path.endswith("/vajradeployments") else None
    kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
    with operator_process.running(kubeconfig, namespace, tmp_path, "--no-leader-elect") as operator:

        def says_so() -> None:
            assert "is the CRD of VajraDeployment installed (kubectl apply -f manifests/crd.yaml)?" in operator.tail()

        eventually(says_so)
        assert operator.answer("/readyz") == (503, "the cluster has not been read yet\n")
        assert operator.answer("/healthz") == (200, "ok\n")
        proxy.before = lambda call: None
        operator.wait_until_leading()


def test_an_operator_that_may_not_see_nodes_does_without(
    api: Api, kubectl: Kubectl, namespace: str, proxy: ApiProxy, tmp_path: Path
) -> None:
    proxy.before = lambda call: Refusal(403, "Forbidden") if call.path == "/api/v1/nodes" else None
    kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
    with operator_process.running(kubeconfig, namespace, tmp_path, "--no-leader-elect") as operator:
        operator.wait_until_leading()
        kubectl.apply(DEPLOYMENT)
        expect_objects(kubectl)
        assert "only when the cluster itself deletes them" in operator.log.read_text()


def test_a_wrong_command_line_and_a_missing_cluster_are_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vajra.operator"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "examples:" in told.stdout
    told = subprocess.run([*command, "--replica-image", "i", "--concurrency", "0"], capture_output=True, text=True)
    assert told.returncode == 2
    assert "got 0; allowed: numbers above 0" in told.stderr

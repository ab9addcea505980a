"""`kubectl vajra` on an API server where an operator works."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient
from tests.cluster import operator_process
from tests.cluster.api import Api
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import DEPLOYMENT, expect_conditions, expect_objects, set_all_ready
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.plugin import Acts, Plugin, Pods, acts_of
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.usefixtures("crd")


@pytest.fixture
def operator(api: Api, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    with operator_process.running(api.kubeconfig, namespace, tmp_path) as running:
        running.wait_until_leading()
        yield running


@pytest.fixture
def plugin(kubectl: Kubectl) -> Plugin:
    return Plugin(kubectl)


@pytest.fixture
def pods(api_client: ApiClient, namespace: str) -> Pods:
    return Pods(api_client, namespace)


def deployment(**spec: Any) -> dict[str, Any]:
    return {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}}


def apply(kubectl: Kubectl, manifest: dict[str, Any]) -> None:
    """As a user does it, by kubectl's client."""
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def expect_rest(kubectl: Kubectl) -> dict[str, Any]:
    """The status, once nothing is under way. AssertionError before."""
    found = kubectl.get("vajradeployment", "llama")
    status: dict[str, Any] = found.get("status", {})
    assert status.get("observedGeneration") == found["metadata"]["generation"]
    (progressing,) = [each for each in status["conditions"] if each["type"] == "Progressing"]
    assert progressing["status"] == "False", progressing
    return status


# Each is applied on top of those before it, to two replicas.
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("Live", {"scheduler": {"type": "FixedChunk", "fixedChunk": {"chunkSize": 64}}}),
    ("Recreate", {"rollout": {"partition": 1}, "networking": {"openAIPort": 8000}}),
    ("Live", {"rollout": {"partition": 0}}),
    ("Recreate", {"replicas": 3, "rollout": {"maxSurge": 1, "maxUnavailable": 0}, "image": "another:1"}),
    ("Live", {"suspend": True}),
]


def test_what_a_plan_says_is_what_the_operator_does(
    operator: OperatorProcess, kubectl: Kubectl, plugin: Plugin, pods: Pods, tmp_path: Path
) -> None:
    manifest = deployment(replicas=2)
    created = plugin.json("plan", "-f", "-", stdin=json.dumps(manifest))
    assert created["impact"] == "Create"
    with acts_of(kubectl, tmp_path) as acts:
        carry_out(kubectl, pods, acts, manifest, created)
        for impact, fields in CHANGES:
            manifest = deployment(**{**manifest["spec"], **fields})
            planned = plugin.json("plan", "-f", "-", stdin=json.dumps(manifest))
            assert planned["impact"] == impact, planned
            carry_out(kubectl, pods, acts, manifest, planned)
        again = plugin.json("plan", "-f", "-", stdin=json.dumps(manifest))
        assert (again["impact"], again["changes"]) == ("None", [])


def carry_out(kubectl: Kubectl, pods: Pods, acts: Acts, manifest: dict[str, Any], planned: dict[str, Any]) -> None:
    """Applies it, and compares what comes of it with what was planned."""
    acts.mark()
    apply(kubectl, manifest)
    changed = sorted(each["path"] for each in planned["changes"] if each["impact"] == "Recreate")
    if planned["impact"] == "Recreate":

        def pending() -> dict[str, Any]:
            found: dict[str, Any] = kubectl.get("vajradeployment", "llama")["status"].get("pendingChange", {})
            assert found, "not seen yet"
            return found

        found = eventually(pending)
        assert (found["impact"], sorted(found["fields"])) == ("Recreate", changed)
    expected = [(act["comes"], act["replica"], act["revision"]) for act in planned["rehearsal"]["acts"]]

    def at_rest() -> None:
        status = expect_rest(kubectl)
        assert status["updateRevision"] == planned["newRevision"]
        assert status["readyReplicas"] == planned["rehearsal"]["serving"]["after"]

    pods.serve_until(at_rest)
    assert acts.since() == expected


def test_a_plan_says_what_is_refused_and_by_whom(kubectl: Kubectl, plugin: Plugin) -> None:
    kubectl.apply(DEPLOYMENT)
    told = plugin("plan", "llama", "--set", "spec.replicas=-1", code=2)
    assert "spec.replicas" in told
    assert "greater than or equal to 0" in told
    refused = plugin.json("plan", "llama", "--set", "spec.placement.queueName=q", code=2)
    assert (refused["impact"], refused["reason"]) == ("Refused", "UnsupportedOption")
    assert "spec.placement.queueName" in refused["message"]
    assert "did you mean spec.replicas?" in plugin("plan", "llama", "--set", "spec.replcas=2", code=2)
    assert kubectl.get("vajradeployment", "llama")["metadata"]["generation"] == 1, "a plan changes nothing"


def test_why_names_what_is_in_the_way_first(
    api: Api, kubectl: Kubectl, plugin: Plugin, namespace: str, tmp_path: Path
) -> None:
    def expect(reason: str, words: str = "") -> None:
        def check() -> None:
            view = plugin.json("why", "llama", code=3)
            assert (view["reason"], words in view["message"]) == (reason, True), view
            assert view["nextStep"]

        eventually(check)

    kubectl.apply(DEPLOYMENT)
    expect("OperatorNotRunning")
    with operator_process.running(api.kubeconfig, namespace, tmp_path) as operator:
        operator.wait_until_leading()
        set_all_ready(kubectl)
        expect_conditions(kubectl, Ready="True")
        assert plugin.json("why", "llama")["ready"] is True
        kubectl("create", "quota", "none", "--hard=pods=0")
        kubectl("scale", "vajradeployment/llama", "--replicas=2")
        expect("FailedCreate", "exceeded quota")
        kubectl.delete("resourcequota", "none")
        kubectl.patch("vajradeployment", "llama", {"spec": {"placement": {"queueName": "q"}}})
        expect("UnsupportedOption", "spec.placement.queueName")
        assert operator.stop() == 0
    kubectl("scale", "vajradeployment/llama", "--replicas=1")
    expect("OperatorNotRunning", "no operator holds the lease")


@pytest.mark.usefixtures("operator")
def test_a_rollout_is_held_seen_and_undone(kubectl: Kubectl, plugin: Plugin, pods: Pods) -> None:
    apply(kubectl, deployment(drain={"timeoutSeconds": 7}))
    pods.serve_until(lambda: expect_rest(kubectl))
    before = kubectl.get("vajradeployment", "llama")
    assert plugin.json("rollout", "pause", "llama") == {"name": "llama", "paused": True, "changed": True}
    template = {"metadata": {"labels": {"team": "a", "tier": "b"}}}
    changes = {"model": {"maxModelLen": 512, "servedName": "x"}, "podTemplate": template, "image": "another:1"}
    kubectl.patch("vajradeployment", "llama", {"spec": changes})

    def held() -> None:
        assert plugin.json("rollout", "status", "llama", code=3)["reason"] == "Paused"

    eventually(held)
    assert "resume" in plugin("why", "llama", code=3)
    plugin("rollout", "resume", "llama")
    pods.serve_until(lambda: expect_rest(kubectl))
    assert plugin.json("rollout", "status", "llama")["complete"] is True
    newest, oldest = plugin.json("rollout", "history", "llama")
    assert newest["use"] == "rolled out"
    assert set(newest["fields"]) == {
        "spec.model.maxModelLen", "spec.model.servedName", "spec.podTemplate", "spec.image",
    }  # fmt: skip

    planned = plugin.json("rollout", "undo", "llama", "--dry-run")
    assert planned["newRevision"] == oldest["name"]
    assert kubectl.get("vajradeployment", "llama")["spec"]["image"] == "another:1"
    kubectl.patch("vajradeployment", "llama", {"spec": {"drain": {"timeoutSeconds": 9}}})
    plugin("rollout", "undo", "llama", "--to-revision", str(oldest["generation"]))
    pods.serve_until(lambda: expect_rest(kubectl))
    after = kubectl.get("vajradeployment", "llama")
    assert after["status"]["currentRevision"] == before["status"]["currentRevision"]
    assert after["spec"].pop("drain")["timeoutSeconds"] == 9, "live settings stay"
    assert before["spec"].pop("drain")["timeoutSeconds"] == 7
    assert after["spec"].pop("rollout") == before["spec"].pop("rollout")
    assert after["spec"] == before["spec"]
    assert [each["name"] for each in plugin.json("rollout", "history", "llama")] == [oldest["name"], newest["name"]]


@pytest.mark.usefixtures("operator")
def test_status_is_one_screen_and_watching_tells_of_changes(kubectl: Kubectl, plugin: Plugin, tmp_path: Path) -> None:
    kubectl.apply(DEPLOYMENT)
    expect_objects(kubectl)
    watching = plugin.start("status", "llama", "--watch", "-o", "json")
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline())["ready"] is False
        set_all_ready(kubectl)
        while not (view := json.loads(watching.stdout.readline()))["ready"]:
            pass
    finally:
        watching.kill()
        watching.communicate()
    assert [each["phase"] for replica in view["replicas"] for each in replica["pods"]] == ["Serving"]
    assert view == plugin.json("status", "llama")
    shown = plugin.through_kubectl(tmp_path, "status", "llama")
    assert shown.startswith(f"{kubectl.namespace}/llama  smollm2-135m-instruct on CPU  Ready")
    assert len(shown.splitlines()) < 30
    (row,) = plugin.json("status")
    assert (row["name"], row["ready"], row["status"]) == ("llama", "1/1", "Serving")


@pytest.mark.usefixtures("operator")
def test_a_drain_waits_for_its_turn_and_for_the_successor(kubectl: Kubectl, plugin: Plugin, pods: Pods) -> None:
    kubectl.apply(deployment(replicas=2))
    pods.serve_until(lambda: expect_rest(kubectl))
    uid = kubectl.get("pod", "llama-0-0")["metadata"]["uid"]

    def budgeted() -> None:
        assert kubectl.get("poddisruptionbudget", "llama")["status"].get("disruptionsAllowed") == 1

    eventually(budgeted)
    first = plugin.start("drain", "llama", "1", "-o", "json")
    assert state(first) in ("Leaving", "Starting")
    second = plugin.start("drain", "llama", "0", "-o", "json")
    assert state(second) == "Refused", "one at a time"

    def ended() -> None:
        assert None not in (first.poll(), second.poll())

    pods.serve_until(ended)
    for each in (first, second):
        last = each.communicate()[0].splitlines()[-1]
        assert (each.returncode, json.loads(last)["state"]) == (0, "Serving")
    assert kubectl.get("pod", "llama-0-0")["metadata"]["uid"] != uid
    assert "allowed: 0, 1" in plugin("drain", "llama", "7", code=2)


def state(drain: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert drain.stdout is not None
    return str(json.loads(drain.stdout.readline())["state"])


def test_what_is_not_there_is_told_with_what_is(kubectl: Kubectl, plugin: Plugin, api: Api) -> None:
    kubectl.apply(DEPLOYMENT)
    assert "did you mean llama?" in plugin("status", "lama", code=1)
    assert "there are no replicas' pods" in plugin("logs", "llama", code=1)
    assert "allowed: none" in plugin("drain", "llama", "0", code=2)
    assert "no revision is kept yet" in plugin("rollout", "undo", "llama", code=1)
    assert "kubectl config get-contexts" in plugin("status", "--context=absent", code=1)

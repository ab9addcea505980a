"""Each alert fires while its cause lasts, and no longer: real operators on an API server, scraped by a real Prometheus.

The alerts of serving are provoked where something serves, in test_traffic.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import operator_process, prometheus
from tests.cluster.api import Api
from tests.cluster.api_proxy import ApiProxy, Call, Refusal
from tests.cluster.deployments import merged
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.operated import DEPLOYMENT, expect_conditions, set_ready
from tests.cluster.prometheus import Prometheus
from tests.cluster.waiting import eventually

from vajra.operator.cluster import login
from vajra.operator.kinds import LABEL

pytestmark = pytest.mark.usefixtures("crd", "prometheus")


@dataclass(frozen=True)
class Scene:
    """A Prometheus that scrapes every operator that is started here."""

    api: Api
    prometheus: Prometheus
    folder: Path

    @contextmanager
    def operator(self, kubectl: Kubectl, *arguments: str, kubeconfig: Path | None = None) -> Iterator[None]:
        """An operator for a namespace."""
        namespace = kubectl.namespace
        with operator_process.running(
            kubeconfig or self.api.kubeconfig, namespace, self.folder, "--resync-seconds", "1", *arguments
        ) as operator:
            target = {"targets": [f"127.0.0.1:{operator.port}"], "labels": {"namespace": namespace}}
            prometheus.write_targets(self.folder / f"{namespace}.json", [target])
            yield

    @contextmanager
    def namespace(self) -> Iterator[Kubectl]:
        """A new namespace."""
        kubectl = self.api.kubectl.within(f"test-{secrets.token_hex(4)}")
        kubectl("create", "namespace", kubectl.namespace)
        yield kubectl
        kubectl.delete("namespace", kubectl.namespace, wait=False)


@pytest.fixture
def scene(api: Api, tmp_path: Path) -> Iterator[Scene]:
    if not api.has_controllers:
        pytest.skip("these binaries have no controller manager, which makes the gateways' pods")
    targets = {"files": [f"{tmp_path}/*.json"], "refresh_interval": "1s"}
    job = {"job_name": "vajra-operator", "honor_labels": True, "file_sd_configs": [targets]}
    with prometheus.running(tmp_path, [job]) as running:
        yield Scene(api, running, tmp_path)


def deploy(kubectl: Kubectl, name: str, **spec: Any) -> None:
    """Makes a VajraDeployment and says that it serves."""
    kubectl.apply({**DEPLOYMENT, "metadata": {"name": name}, "spec": merged(DEPLOYMENT["spec"], spec)})
    serve(kubectl, name)


def serve(kubectl: Kubectl, name: str) -> None:
    """Says of all its pods that they serve, until the operator finds that all is well."""

    def check() -> None:
        for pod in kubectl.find("pods", f"{LABEL}={name}"):
            if not is_ready(pod):
                try:
                    set_ready(kubectl, pod["metadata"]["name"])
                except KubectlError as error:
                    raise AssertionError("a pod has just gone") from error
        conditions = kubectl.get("vajradeployment", name).get("status", {}).get("conditions", ())
        assert {"Ready", "Available"} <= {each["type"] for each in conditions if each["status"] == "True"}, conditions

    eventually(check, interval=0.5)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return pod["status"]["phase"] == "Running" and conditions.get("Ready") == "True"


def fail(kubectl: Kubectl, pod: str) -> None:
    """Says that a pod has ended."""
    kubectl.patch("pod", pod, {"status": {"phase": "Failed"}}, subresource="status")


# What provokes alerts: while the block lasts, those with these labels should fire.
Cause = Callable[[Scene, Kubectl], AbstractContextManager[dict[str, dict[str, str]]]]


def of(kubectl: Kubectl, name: str) -> dict[str, str]:
    return {"namespace": kubectl.namespace, "vajradeployment": name}


@contextmanager
def replicas_that_are_away(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    deploy(kubectl, "away")
    set_ready(kubectl, "away-0-0", ready=False)
    labels = of(kubectl, "away")
    yield {"VajraDeploymentUnavailable": labels, "VajraDeploymentNotReady": labels}
    serve(kubectl, "away")


@contextmanager
def a_replica_that_was_given_up(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    deploy(kubectl, "broken", recovery={"groupRestartLimit": 0})
    fail(kubectl, "broken-0-0")
    yield {"VajraDeploymentDegraded": of(kubectl, "broken")}
    kubectl.delete("pod", "broken-0-0", wait=False)
    serve(kubectl, "broken")


@contextmanager
def a_replica_that_fails_again_and_again(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    deploy(kubectl, "unsteady", recovery={"backoffBaseSeconds": 1})
    for times in (1, 2, 3):
        fail(kubectl, "unsteady-0-0")

        def counted(times: int = times) -> None:
            status = kubectl.get("vajradeployment", "unsteady")["status"]
            assert status["recovery"]["groupRestarts"] == times

        eventually(counted)
        serve(kubectl, "unsteady")
    yield {"VajraReplicaRestarting": of(kubectl, "unsteady")}


@contextmanager
def a_revision_that_does_not_start(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    deploy(kubectl, "rolling", rollout={"progressDeadlineSeconds": 1})
    kubectl.patch("vajradeployment", "rolling", {"spec": {"model": {"maxModelLen": 1024}}})
    expect_conditions(kubectl, "rolling", Degraded="True")
    yield {"VajraRolloutStuck": of(kubectl, "rolling")}
    serve(kubectl, "rolling")


@contextmanager
def an_api_server_that_is_slow_and_refuses(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    def refuse(call: Call) -> Refusal | None:
        if not call.writes:
            return None
        time.sleep(0.3)
        return Refusal(403, "Forbidden")

    with scene.namespace() as there, ApiProxy(login()) as proxy:
        proxy.before = refuse
        kubeconfig = proxy.write_kubeconfig(scene.folder / "kubeconfig")
        there.apply(*({**DEPLOYMENT, "metadata": {"name": f"many-{index}"}} for index in range(20)))
        with scene.operator(there, "--no-leader-elect", "--concurrency", "1", kubeconfig=kubeconfig):
            labels = {"namespace": there.namespace}
            yield {"VajraOperatorQueueStuck": labels, "VajraOperatorReconcileErrors": labels}
            proxy.before = lambda call: None
            for alert in ("VajraOperatorQueueStuck", "VajraOperatorReconcileErrors"):
                scene.prometheus.expect_quiet(alert, **labels)


@contextmanager
def a_lease_that_nobody_lets_go(scene: Scene, kubectl: Kubectl) -> Iterator[dict[str, dict[str, str]]]:
    with scene.namespace() as there:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "vajra-operator"},
            "spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 3600, "leaseTransitions": 0},
        }
        there.create(lease)
        with scene.operator(there):
            labels = {"namespace": there.namespace}
            yield {"VajraOperatorDown": labels}
            there.patch("lease", "vajra-operator", {"spec": {"holderIdentity": ""}})
            scene.prometheus.expect_quiet("VajraOperatorDown", **labels)


CAUSES: tuple[Cause, ...] = (
    an_api_server_that_is_slow_and_refuses,
    a_lease_that_nobody_lets_go,
    a_replica_that_fails_again_and_again,  # which is forgotten after a while
    replicas_that_are_away,
    a_replica_that_was_given_up,
    a_revision_that_does_not_start,
)
ELSEWHERE = {"VajraGatewayErrors", "VajraRequestsQueued"}


def test_each_alert_fires_while_its_cause_lasts(
    scene: Scene, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(scene.api.kubeconfig))  # for the proxy
    expected: dict[str, dict[str, str]] = {}
    with scene.operator(kubectl, "--no-leader-elect"):
        deploy(kubectl, "well")
        with ExitStack() as causes:
            for cause in CAUSES:
                expected |= causes.enter_context(cause(scene, kubectl))
            assert set(expected) | ELSEWHERE == {rule["alert"] for rule in prometheus.alerts()}
            for alert, labels in expected.items():
                fired = scene.prometheus.expect_firing(alert, **labels)
                told = fired["annotations"]["summary"] + fired["annotations"]["description"]
                assert all(value in told for value in labels.values()), told
            fired = scene.prometheus.expect_firing("VajraDeploymentDegraded", vajradeployment="broken")
            assert "RestartLimitExceeded" in fired["annotations"]["description"]
            for alert in expected:
                assert scene.prometheus.firing(alert, **of(kubectl, "well")) == []
        for alert, labels in expected.items():
            scene.prometheus.expect_quiet(alert, **labels)

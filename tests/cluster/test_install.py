"""manifests/install.yaml is admitted, and the operator may do what it has to and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client
from tests.cluster.access import KEPT, OPERATOR, Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operator_install import MANIFESTS

pytestmark = pytest.mark.usefixtures("crd")

INSTALL = MANIFESTS / "install.yaml"


def objects(namespace: str) -> list[dict[str, Any]]:
    """What is installed, in another namespace, and under other names where there is none."""
    text = INSTALL.read_text(encoding="utf-8").replace("vajra-system", namespace)
    found = [part for part in yaml.safe_load_all(text) if part["kind"] != "Namespace"]
    for part in found:
        if part["kind"].startswith("ClusterRole"):
            part["metadata"]["name"] += f"-{namespace}"
        if part["kind"] == "ClusterRoleBinding":
            part["roleRef"]["name"] += f"-{namespace}"
    return found


@pytest.fixture
def installed(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace where the operator is installed, without pods. What the namespace holds goes with it."""
    parts = objects(kubectl.namespace)
    next(part for part in parts if part["kind"] == "Deployment")["spec"]["replicas"] = 0
    kubectl.apply(*parts)
    yield kubectl
    for part in parts:
        if part["kind"].startswith("ClusterRole"):
            kubectl.delete(part["kind"], part["metadata"]["name"])


def test_the_operator_may_do_what_it_has_to(installed: Kubectl, api_client: client.ApiClient) -> None:
    access = Access(api_client, f"system:serviceaccount:{installed.namespace}:vajra-operator")
    assert access.rights("elsewhere") == OPERATOR


def test_the_operator_keeps_its_own_lease_only(installed: Kubectl, api_client: client.ApiClient) -> None:
    own = installed.namespace
    access = Access(api_client, f"system:serviceaccount:{own}:vajra-operator")
    lease = "leases.coordination.k8s.io"
    assert all(access.allows(verb, lease, own, "vajra-operator") for verb in ("get", "create", "update"))
    assert not any(access.allows(verb, lease, own, "other") for verb in ("get", "update", "delete"))


def test_the_operator_runs_under_restricted_pod_security(installed: Kubectl) -> None:
    installed("label", "namespace", installed.namespace, "pod-security.kubernetes.io/enforce=restricted")
    (deployment,) = (part for part in objects(installed.namespace) if part["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    installed.create(pod)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [("view", {"get", "list", "watch"}, {"create", "patch"}), ("edit", KEPT | {"update"}, {"escalate"})],
)
def test_who_may_edit_a_namespace_may_edit_its_deployments(
    installed: Kubectl, api_client: client.ApiClient, role: str, may: set[str], may_not: set[str]
) -> None:
    installed("create", "rolebinding", "someone", f"--clusterrole={role}", "--user=someone")
    access = Access(api_client, "someone")
    allowed = {verb for verb in may | may_not if access.allows(verb, "vajradeployments.vajra.ai", installed.namespace)}
    assert allowed == may

"""The chart charts/vajra-operator. What its upgrades do to what is served is in test_traffic.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from tests.cluster import operator_install, operator_process
from tests.cluster.access import OPERATOR, Access
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.helm import CHART, Helm, HelmError
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import DEPLOYMENT, expect_conditions, set_all_ready
from tests.cluster.operator_install import MANIFESTS

CLUSTER_WIDE = ("nodes",)


def rules(objects: list[dict[str, Any]]) -> list[str]:
    """The rules of each role."""
    return sorted(json.dumps(part["rules"], sort_keys=True) for part in objects if part["kind"].endswith("Role"))


def spec(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """What the one object of a kind says, but of whom: labels are the chart's own."""
    (found,) = (part["spec"] for part in objects if part["kind"] == kind)
    found.pop("selector")
    found.get("template", {}).pop("metadata", None)
    for spread in found.get("template", {}).get("spec", {}).get("topologySpreadConstraints", ()):
        spread.pop("labelSelector")
    return dict(found)


def test_it_installs_what_the_plain_manifest_does(helm: Helm) -> None:
    chart = helm.objects("vajra-operator")
    plain = list(yaml.safe_load_all((MANIFESTS / "install.yaml").read_text()))
    assert rules(chart) == rules(plain)
    assert spec(chart, "PodDisruptionBudget") == spec(plain, "PodDisruptionBudget")
    ours, theirs = spec(chart, "Deployment"), spec(plain, "Deployment")
    arguments = [each["template"]["spec"]["containers"][0].pop("args") for each in (ours, theirs)]
    assert set(arguments[0]) >= set(arguments[1])
    ours["template"]["spec"]["containers"][0].pop("imagePullPolicy")  # which is the default
    assert ours == theirs


def test_a_value_that_it_does_not_know_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match="replica"):
        helm.objects("vajra-operator", "replica=3")


def undocumented(lines: list[str]) -> list[str]:
    """Keys of a YAML text that have no comment above them, nor has what they are part of."""
    found, documented = [], {0: False}  # by indentation: whether what one is in has a comment
    for above, line in zip(["", *lines], lines, strict=False):
        if (text := line.lstrip()) and not text.startswith("#"):
            indent = len(line) - len(text)
            here = documented.get(indent, False) or above.lstrip().startswith("#")
            if not here and not text.rstrip().endswith(":"):
                found.append(text)
            documented[indent + 2] = here
    return found


def leaves(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """The paths of a schema that hold a value."""
    if "properties" not in schema:
        return {path}
    return {leaf for key, part in schema["properties"].items() for leaf in leaves(part, f"{path}.{key}")}


def test_every_value_is_documented_and_has_a_schema() -> None:
    text = (CHART / "values.yaml").read_text()
    assert undocumented(text.splitlines()) == []
    values = yaml.safe_load(text)
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path in leaves(schema) - {".global"}:  # which Helm gives every chart
        part: Any = values
        for key in path.split(".")[1:]:
            assert key in part, f"the schema has {path}, which values.yaml has not"
            part = part[key]


@pytest.fixture
def namespaced(api: Api, crd: None, helm: Helm, kubectl: Kubectl) -> Iterator[Kubectl]:
    """The chart is installed in a namespace for that namespace alone; no node runs its pods."""
    here = Helm(helm.program, api.kubeconfig, kubectl.namespace)
    values = f"namespaces={{{kubectl.namespace}}},rbac.nodes=false,crds.enabled=false"
    release = f"vajra-{kubectl.namespace}"
    here("install", release, str(CHART), f"--set={values},serviceAccount.name=operator")
    yield kubectl
    here("uninstall", release)


def test_named_namespaces_are_all_that_it_may_touch(namespaced: Kubectl, api_client: client.ApiClient) -> None:
    access = Access(api_client, f"system:serviceaccount:{namespaced.namespace}:operator")
    within = {resource: set() if resource in CLUSTER_WIDE else verbs for resource, verbs in OPERATOR.items()}
    leases = {"leases.coordination.k8s.io": {"create"}}  # and its own, by name
    assert access.rights(namespaced.namespace) == within | leases
    assert access.rights("elsewhere") == {resource: set() for resource in OPERATOR}


def test_its_rights_in_a_namespace_suffice(api: Api, namespaced: Kubectl, tmp_path: Path) -> None:
    token = namespaced("create", "token", "operator").strip()
    config = yaml.safe_load(api.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    arguments = ["--resync-seconds=1", "--dead-watch-seconds=10"]
    with operator_process.running(kubeconfig, namespaced.namespace, tmp_path, *arguments) as operator:
        operator.wait_until_leading()
        namespaced.apply(DEPLOYMENT)
        set_all_ready(namespaced)
        expect_conditions(namespaced, Accepted="True", Available="True")
        forbidden = [line for line in operator.log.read_text().splitlines() if " 403 " in line]
    assert [line for line in forbidden if "v1/nodes: 403" not in line] == []


def test_helm_test_asks_for_tokens(cluster: Cluster, operator: None) -> None:
    answer = operator_install.of(cluster)("test", operator_install.RELEASE)
    assert answer.count("Phase:          Succeeded") == 2, answer  # the VajraDeployment, and the client that asked it
    assert cluster.kubectl.within(operator_install.NAMESPACE).find("vajradeployments") == []

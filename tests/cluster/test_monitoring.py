"""What the chart has for Prometheus and Grafana, as their own programs and a real API server take it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import prometheus
from tests.cluster.helm import Helm
from tests.cluster.kubectl import Kubectl
from tests.cluster.operator_install import MANIFESTS
from tests.cluster.prometheus import FILES

UNIT_TESTS = Path(__file__).with_name("rules_test.yaml")
VALUES = (
    "metrics.podMonitor.enabled=true",
    "metrics.podMonitor.labels.release=prometheus",
    "metrics.rules.enabled=true",
    "metrics.rules.runbooks=https://runbooks.example.org/",
    "metrics.dashboard.enabled=true",
)


def chart(helm: Helm, *values: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of the chart, by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in helm.objects("vajra", *values)}


@pytest.mark.usefixtures("prometheus")
def test_promtool_finds_nothing_wrong() -> None:
    promtool = prometheus.program("promtool")
    subprocess.run([promtool, "check", "rules", "--lint-fatal", FILES / "rules.yaml"], check=True)
    subprocess.run([promtool, "test", "rules", UNIT_TESTS], check=True)


def test_hastened_alerts_differ_in_durations_alone() -> None:
    def timeless(rules: dict[str, Any]) -> str:
        return re.sub(r"\[\w+\]|'for': '\w+'", "", str(rules))

    shipped = prometheus.rules()
    hastened = prometheus.hastened(shipped, 10)
    assert timeless(hastened) == timeless(shipped) != str(shipped)
    (first, *_), (_, *others) = (group["rules"] for group in hastened["groups"][:2])
    assert first["for"] == "30000ms"
    assert "[360000ms]" in "".join(rule["expr"] for rule in others)


def test_the_chart_has_none_of_it_unless_asked(helm: Helm) -> None:
    assert {kind for kind, _ in chart(helm)}.isdisjoint({"PodMonitor", "PrometheusRule", "ConfigMap"})


@pytest.mark.usefixtures("prometheus_definitions")
def test_an_api_server_takes_it_as_it_is_meant(helm: Helm, kubectl: Kubectl) -> None:
    objects = chart(helm.within(kubectl.namespace), *VALUES)
    ours = [("PodMonitor", "vajra"), ("PodMonitor", "vajra-gateways"), ("PrometheusRule", "vajra")]
    ours += [("ConfigMap", "vajra-dashboard")]
    kubectl.apply(*(objects[each] for each in ours))
    operators, gateways, rule, dashboard = (kubectl.get(*each) for each in ours)
    assert operators["metadata"]["labels"]["release"] == "prometheus"
    assert operators["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "interval": "30s", "honorLabels": True}]
    assert gateways["spec"]["namespaceSelector"] == {"any": True}
    text = json.dumps(prometheus.rules()["groups"]).replace(
        "docs/kubernetes/runbooks/", "https://runbooks.example.org/"
    )
    assert rule["spec"]["groups"] == json.loads(text)
    assert json.loads(dashboard["data"]["vajra.json"]) == json.loads((FILES / "dashboard.json").read_text())
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_named_namespaces_are_scraped_alone(helm: Helm) -> None:
    found = chart(helm, "metrics.podMonitor.enabled=true", "namespaces={a,b}")
    assert found["PodMonitor", "vajra-gateways"]["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}


def test_pod_monitors_and_plain_scrapes_say_the_same(helm: Helm) -> None:
    """Of a PodMonitor, Prometheus' operator itself makes the labels `namespace` and `pod`."""
    found = chart(helm, "metrics.podMonitor.enabled=true")
    jobs = yaml.safe_load((FILES / "scrape.yaml").read_text())["scrape_configs"]
    for job, name in zip(jobs, ("vajra", "vajra-gateways"), strict=True):
        (endpoint,) = found["PodMonitor", name]["spec"]["podMetricsEndpoints"]
        assert endpoint.get("honorLabels", False) == job.get("honor_labels", False)
        ours = [(each["sourceLabels"], each["targetLabel"]) for each in endpoint.get("relabelings", ())]
        labels = [(each["source_labels"], each["target_label"]) for each in job["relabel_configs"][1:]]
        assert ours == [each for each in labels if each[1] not in ("namespace", "pod")]
        assert [each[1] for each in labels[:2]] == ["namespace", "pod"]


def test_the_plain_manifest_is_found_by_plain_scrapes() -> None:
    objects = yaml.safe_load_all((MANIFESTS / "install.yaml").read_text())
    (template,) = (each["spec"]["template"] for each in objects if each["kind"] == "Deployment")
    (container,) = template["spec"]["containers"]
    keep = yaml.safe_load((FILES / "scrape.yaml").read_text())["scrape_configs"][0]["relabel_configs"][0]
    name = template["metadata"]["labels"]["app.kubernetes.io/name"]
    assert keep["regex"] in [f"{name};{port['name']}" for port in container["ports"]]


def test_the_operators_metrics_port_lets_prometheus_in(helm: Helm) -> None:
    peer = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring"
    for values, expected in (((), None), ((peer,), [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}])):
        (ingress,) = chart(helm, *values)["NetworkPolicy", "vajra"]["spec"]["ingress"]
        assert ingress["ports"] == [{"protocol": "TCP", "port": 8080}]
        assert ingress.get("from") == expected

"""A Prometheus on this machine that scrapes what a test names, and judges it by the chart's alerts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.binaries import MissingError
from tests.cluster.processes import free_port
from tests.cluster.waiting import eventually

FILES = Path(__file__).parents[2] / "charts/vajra-operator/files"
FASTER = 100  # than the alerts are: what takes minutes must not take a test minutes
_UNITS = {"s": 1, "m": 60, "h": 3600}


def program(name: str = "prometheus") -> str:
    """Its path, or promtool's. Raises MissingError."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"no {name}: apt-get install prometheus")
    return found


def rules() -> dict[str, Any]:
    """The chart's alerts."""
    loaded: dict[str, Any] = yaml.safe_load((FILES / "rules.yaml").read_text())
    return loaded


def alerts() -> list[dict[str, Any]]:
    """The rules in one list."""
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def hastened(rules: Mapping[str, Any], factor: int = FASTER) -> dict[str, Any]:
    """The same rules with every `for` and every range as much shorter, and nothing else."""

    def shorter(duration: str) -> str:
        return f"{int(duration[:-1]) * _UNITS[duration[-1]] * 1000 // factor}ms"

    def hasten(rule: Mapping[str, Any]) -> dict[str, Any]:
        expression = re.sub(r"\[(\w+)\]", lambda found: f"[{shorter(found[1])}]", rule["expr"])
        return {**rule, "expr": expression, **({"for": shorter(rule["for"])} if "for" in rule else {})}

    groups = [{**group, "rules": [hasten(rule) for rule in group["rules"]]} for group in rules["groups"]]
    return {"groups": groups}


def scrape_configs(targets: Path) -> list[dict[str, Any]]:
    """The chart's jobs. targets: a file for what Kubernetes would be asked, which Debian's Prometheus cannot do."""
    jobs = yaml.safe_load((FILES / "scrape.yaml").read_text())["scrape_configs"]
    for job in jobs:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["file_sd_configs"] = [{"files": [str(targets)], "refresh_interval": "1s"}]
    return list(jobs)


def pod_targets(pods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What Prometheus knows of pods (`role: pod`): a target for each port of each container."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_container_port_name": port["name"],
                **{
                    "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", key): value
                    for key, value in pod["metadata"]["labels"].items()
                },
            },
        }
        for pod in pods
        if "podIP" in pod["status"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


def write_targets(file: Path, targets: Sequence[Mapping[str, Any]]) -> None:
    """For `file_sd_configs`, which follow it."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(targets))
    new.rename(file)


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str
    log: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now. AssertionError for one that cannot be evaluated."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return found

    def firing(self, alert: str, **labels: str) -> list[dict[str, Any]]:
        """The alerts of that name, and with these labels, that fire."""
        return [
            each
            for each in self._ask("alerts")["alerts"]
            if each["state"] == "firing" and {"alertname": alert, **labels}.items() <= each["labels"].items()
        ]

    def expect_firing(self, alert: str, **labels: str) -> dict[str, Any]:
        """Waits until an alert fires; the alert."""

        def check() -> dict[str, Any]:
            found = self.firing(alert, **labels)
            states = [(each["labels"], each["state"]) for each in self._ask("alerts")["alerts"]]
            assert found, f"{alert} {labels} does not fire; {states}"
            return found[0]

        return eventually(check, seconds=90, interval=0.5)

    def expect_quiet(self, alert: str, **labels: str) -> None:
        """Waits until an alert does not fire."""

        def check() -> None:
            assert self.firing(alert, **labels) == []

        eventually(check, seconds=90, interval=0.5)

    def _ask(self, endpoint: str, **parameters: str) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                data: dict[str, Any] = json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        return data


@contextmanager
def running(folder: Path, scrape_configs: Sequence[Mapping[str, Any]]) -> Iterator[Prometheus]:
    """A Prometheus with the alerts, hastened; it asks every second. Raises MissingError."""
    command = [program()]
    port = free_port("127.0.0.1")
    (folder / "rules.yaml").write_text(yaml.safe_dump(hastened(rules())))
    second = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": second, "rule_files": ["rules.yaml"], "scrape_configs": list(scrape_configs)}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command += [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    prometheus = Prometheus(f"http://127.0.0.1:{port}", folder / "prometheus.log")

    def ready() -> None:
        text = prometheus.log.read_text()
        assert process.poll() is None, text
        try:
            urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=5).close()
        except OSError as error:
            raise AssertionError(text) from error

    with prometheus.log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        eventually(ready)
        yield prometheus
    finally:
        process.kill()
        process.wait()

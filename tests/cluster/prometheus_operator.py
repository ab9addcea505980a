"""The definitions of Prometheus' operator, from the Go module proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from tests.cluster.binaries import MissingError, cache
from tests.cluster.kubectl import Kubectl
from tests.cluster.waiting import eventually

_VERSION = "v0.85.0"
_MODULE = f"github.com/prometheus-operator/prometheus-operator@{_VERSION}"
_NAMES = ("podmonitors", "prometheusrules")


def definitions() -> list[Path]:
    """Files with the CRDs of PodMonitor and PrometheusRule. Raises MissingError without Go, unless they are cached."""
    folder = cache() / f"prometheus-operator-{_VERSION}"
    if not folder.is_dir():
        if shutil.which("go") is None:
            raise MissingError("no Go, whose module proxy has the definitions of Prometheus' operator")
        done = subprocess.run(
            ["go", "mod", "download", "-json", _MODULE], cwd="/", check=True, capture_output=True, text=True
        )
        source = Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            part = Path(new) / "part"
            part.mkdir()
            for name in _NAMES:
                shutil.copy(source / f"monitoring.coreos.com_{name}.yaml", part)
            if not folder.is_dir():  # another was faster
                part.rename(folder)
    return sorted(folder.iterdir())


def install(kubectl: Kubectl, files: Sequence[Path]) -> None:
    """Applies those that the API server does not know yet, and waits until it does."""
    known = kubectl("get", "crd", "-o", "name").splitlines()
    for file in files:
        crd = yaml.safe_load(file.read_text())
        if f"customresourcedefinition.apiextensions.k8s.io/{crd['metadata']['name']}" not in known:
            kubectl.apply(crd)

    def served() -> None:
        found = kubectl("api-resources", "--api-group=monitoring.coreos.com", "-o=name").split()
        assert {f"{name}.monitoring.coreos.com" for name in _NAMES} <= set(found)

    eventually(served)

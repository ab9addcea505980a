"""The definitions of Prometheus' operator, from the Go module proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.cluster.binaries import MissingError, cache

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
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        for name in _NAMES:
            file = f"monitoring.coreos.com_{name}.yaml"
            shutil.copy(Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd" / file, part)
        part.rename(folder)
    return sorted(folder.iterdir())

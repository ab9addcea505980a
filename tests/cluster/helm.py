"""helm, and the chart of this tree."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.binaries import MissingError, built, kubernetes

CHART = Path(__file__).parents[2] / "charts" / "vajra-operator"


class HelmError(Exception):
    """helm has failed; the message is what it said."""


@dataclass(frozen=True)
class Helm:
    """helm of one cluster, in one namespace."""

    program: Path
    kubeconfig: Path | None = None
    namespace: str = "default"

    def within(self, namespace: str) -> Helm:
        """The same in another namespace."""
        return replace(self, namespace=namespace)

    def __call__(self, *arguments: str, seconds: float = 180) -> str:
        """What `helm ARGUMENTS` prints. Raises HelmError; subprocess.TimeoutExpired after `seconds`."""
        where = [f"--namespace={self.namespace}"] + ([f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else [])
        command = [str(self.program), *arguments, *where]
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)
        if result.returncode != 0:
            raise HelmError(result.stderr.strip() or result.stdout.strip())
        return result.stdout

    def objects(self, release: str, *values: str, chart: Path = CHART) -> list[dict[str, Any]]:
        """What a release would install, hooks aside; values: as in --set."""
        options = [f"--set={value}" for value in values] + ["--no-hooks", f"--kube-version={kubernetes()}"]
        return [part for part in yaml.safe_load_all(self("template", release, str(chart), *options)) if part]

    def package(self, version: str, folder: Path) -> Path:
        """The chart and its images under another version."""
        self("package", str(CHART), f"--version={version}", f"--app-version={version}", f"--destination={folder}")
        return folder / f"vajra-operator-{version}.tgz"


def program() -> Path:
    """helm of our own build, else the one on PATH. Raises MissingError."""
    try:
        return built()["helm"]
    except MissingError:
        if found := shutil.which("helm"):
            return Path(found)
        raise

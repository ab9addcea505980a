"""The operator, installed by Helm as anyone installs it; the images of this tree have the names in the chart."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.cluster import helm
from tests.cluster.cluster import Cluster
from tests.cluster.helm import CHART, Helm
from tests.cluster.images import OPERATOR, REPLICA
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.waiting import eventually

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAMESPACE = "vajra-system"
RELEASE = "vajra-operator"
_VERSION = OPERATOR.rpartition(":")[2]


def define(kubectl: Kubectl) -> None:
    """Applies the definition of VajraDeployments as anyone does it without Helm; returns when they are known."""
    kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))

    def known() -> None:
        try:
            kubectl("get", "vajradeployments")
        except KubectlError as e:  # `kubectl wait` fails, too, while the CRD has no conditions yet
            raise AssertionError("VajraDeployments are not known yet") from e

    eventually(known)


def install(cluster: Cluster) -> None:
    """Installs the chart, or upgrades what is there to it; returns when the operator is rolled out."""
    _upgrade(cluster, CHART)


def upgrade(cluster: Cluster, version: str) -> None:
    """Upgrades to the chart as a later version of it, with images of that version; returns when it is rolled out."""
    for image in (OPERATOR, REPLICA):
        cluster.tag(image, image.replace(_VERSION, version))
    with tempfile.TemporaryDirectory() as folder:
        _upgrade(cluster, of(cluster).package(version, Path(folder)))


def uninstall(cluster: Cluster) -> None:
    """Uninstalls it; returns when no operator runs."""
    of(cluster)("uninstall", RELEASE, "--wait")


def of(cluster: Cluster) -> Helm:
    """helm where the operator is installed."""
    return Helm(helm.program(), cluster.kubeconfig, NAMESPACE)


def _upgrade(cluster: Cluster, chart: Path) -> None:
    of(cluster)("upgrade", "--install", RELEASE, str(chart), "--create-namespace", "--wait", "--timeout=120s")

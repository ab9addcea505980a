"""The operator, installed as anyone installs it; the images of this tree have the names in the manifests."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.images import OPERATOR, REPLICA

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAMESPACE = "vajra-system"
_VERSION = OPERATOR.rpartition(":")[2]


def install(cluster: Cluster, version: str = _VERSION) -> None:
    """Returns when the operator is rolled out. version: another one than the images', as which they are to pass."""
    manifest = (MANIFESTS / "install.yaml").read_text()
    if version != _VERSION:
        for image in (OPERATOR, REPLICA):
            cluster.tag(image, image.replace(_VERSION, version))
        manifest = manifest.replace(f":{_VERSION}", f":{version}")
    kubectl = cluster.kubectl.within(NAMESPACE)
    kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"), "-f", "-", stdin=manifest)
    kubectl("rollout", "status", "deployment/vajra-operator", "--timeout=120s", seconds=130)

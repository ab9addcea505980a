"""The operator, installed as anyone installs it, with the images of this tree."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.images import OPERATOR, REPLICA

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAMESPACE = "vajra-system"
_IMAGES = {"vajra-operator:0.1.0": OPERATOR, "vajra-replica:0.1.0": REPLICA}


def install(cluster: Cluster) -> None:
    """Returns when the operator is available."""
    manifest = (MANIFESTS / "install.yaml").read_text()
    for name, image in _IMAGES.items():
        assert name in manifest
        manifest = manifest.replace(name, image)
    kubectl = cluster.kubectl.within(NAMESPACE)
    kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"), "-f", "-", stdin=manifest)
    kubectl.wait("condition=Available", "deployment/vajra-operator")

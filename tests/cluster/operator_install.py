"""The operator, installed as anyone installs it, with the images of this tree."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.images import OPERATOR, REPLICA

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAMESPACE = "vajra-system"
_IMAGES = {"vajra-operator:0.1.0": OPERATOR, "vajra-replica:0.1.0": REPLICA}


def install(cluster: Cluster, tag: str | None = None) -> None:
    """Returns when the operator is rolled out. tag: of images that are as if they were another version's."""
    manifest = (MANIFESTS / "install.yaml").read_text()
    for name, image in _IMAGES.items():
        assert name in manifest
        if tag is not None:
            built, image = image, f"{image.partition(':')[0]}:{tag}"
            cluster.tag(built, image)
        manifest = manifest.replace(name, image)
    kubectl = cluster.kubectl.within(NAMESPACE)
    kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"), "-f", "-", stdin=manifest)
    kubectl("rollout", "status", "deployment/vajra-operator", "--timeout=120s", seconds=130)

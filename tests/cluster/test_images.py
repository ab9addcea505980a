"""The project's images: what is in them and what is not, under the strictest rules that a namespace can set."""

from __future__ import annotations

import json

import pytest
from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.images import MODEL, OPERATOR, REPLICA
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.manifests import RESTRICTED, pod

LOOK = """
import importlib.util, json, os, shutil
compilers = [program for program in ("cc", "gcc", "g++", "c++", "clang", "make") if shutil.which(program)]
torch = importlib.util.find_spec("torch") is not None
print(json.dumps({"user": os.getuid(), "compilers": compilers, "torch": torch}))
"""
IMPORT_ALL = """
import importlib, pkgutil, sys, vajra.operator as package
for module in pkgutil.walk_packages(package.__path__, "vajra.operator."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
COMPLETE = f"""
import json, urllib.request
body = json.dumps({{"model": "{MODEL}", "prompt": "One, two, three,", "max_tokens": 8, "temperature": 0}})
headers = {{"Content-Type": "application/json"}}
request = urllib.request.Request("http://127.0.0.1:8000/v1/completions", body.encode(), headers)
print(json.load(urllib.request.urlopen(request))["choices"][0]["text"])
"""


@pytest.fixture
def restricted(kubectl: Kubectl) -> Kubectl:
    """kubectl in a namespace that enforces the Pod Security Standard `restricted`."""
    kubectl("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    return kubectl


@pytest.mark.parametrize("image", [OPERATOR, REPLICA])
def test_an_image_runs_as_nobody_without_compiler_and_torch(cluster: Cluster, restricted: Kubectl, image: str) -> None:
    restricted.apply(pod("a", "sleep", "infinity", image=image, container={"securityContext": RESTRICTED}))
    restricted.wait("condition=Ready", "pod/a")
    found = json.loads(restricted.execute("a", "python", "-c", LOOK))
    assert found == {"user": 65532, "compilers": [], "torch": False}


def test_the_operators_image_has_all_that_it_imports(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(pod("a", "sleep", "infinity", image=OPERATOR))
    kubectl.wait("condition=Ready", "pod/a")
    kubectl.execute("a", "python", "-c", IMPORT_ALL)


def test_the_operators_image_is_small(cluster: Cluster) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("how large an image is in a registry is asked of buildah, which built it here")
    assert images.compressed_bytes(OPERATOR) < 250_000_000


def test_the_replicas_image_serves_its_model_without_a_network(cluster: Cluster, restricted: Kubectl) -> None:
    container = {
        "securityContext": RESTRICTED,
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "cache", "mountPath": "/var/cache/vajra"}],
    }
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]
    serve = ("python", "-m", "vajra.cli", "serve", MODEL, "--host", "0.0.0.0")
    restricted.apply(pod("a", *serve, image=REPLICA, container=container, volumes=volumes))
    restricted.wait("condition=Ready", "pod/a", seconds=180)
    assert "four" in restricted.execute("a", "python", "-c", COMPLETE)

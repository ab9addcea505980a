"""Where pods have their model and its execution times from, and where they keep what they made. The embedded model
serves elsewhere.

Images as volumes are for the API server alone (test_examples.py): the nodes' containerd mounts none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import Cluster
from tests.cluster.deployed import SMALL, Deployed, uids
from tests.cluster.deployments import manifest
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import LocalCluster
from tests.cluster.waiting import eventually
from tests.models.checkpoints import make_checkpoint
from tests.models.hub_server import TOKEN, serve_hub
from tests.prediction.profiles import profile

pytestmark = pytest.mark.usefixtures("operator")

WEIGHTS = "model.safetensors"
QUICK: dict[str, Any] = {"recovery": {"backoffBaseSeconds": 1, "backoffMaxSeconds": 2}}  # to try again


@pytest.fixture(scope="module")
def checkpoint(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama in a folder that the nodes have, too."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the nodes have no folder of this machine")
    folder = make_checkpoint(tmp_path_factory.mktemp("models") / "tiny", "llama")
    for path in (folder.parent, folder / WEIGHTS):  # made for their owner alone
        path.chmod(0o755)
    return folder


@pytest.fixture
def deployed(checkpoint: Path, kubectl: Kubectl) -> Deployed:
    return Deployed(kubectl)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder of all nodes that the pods' user may write."""
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


class Volumes:
    """PersistentVolumes that are folders of the nodes, and claims to them in the test's namespace."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._names: list[str] = []

    def claim(self, name: str, folder: Path) -> None:
        """A claim that is bound to a volume of its own."""
        volume = f"{self._kubectl.namespace}-{name}"
        self._names.append(volume)
        access = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        meta = {"name": name, "namespace": self._kubectl.namespace}
        self._kubectl.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": {
                    **access,
                    "capacity": {"storage": "1Gi"},
                    "claimRef": meta,
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(folder), "type": "Directory"},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": meta,
                "spec": {**access, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
            },
        )

    def remove(self) -> None:
        """Removes the volumes; the claims go with their namespace."""
        for name in self._names:
            self._kubectl.delete("persistentvolume", name, wait=False)


@pytest.fixture
def volumes(kubectl: Kubectl) -> Iterator[Volumes]:
    made = Volumes(kubectl)
    yield made
    made.remove()


def timed(profile: dict[str, Any]) -> dict[str, Any]:
    """Rules that need execution times, which come from there."""
    return {"scheduler": {"type": "DynamicChunk", "profile": profile}, "prioritizer": {"type": "LRS"}}


def secret(token: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": token}}


def packed(cache: Path) -> dict[str, tuple[int, int]]:
    """What was made of the weights: by the file's name its inode, and when it was last used."""
    files = {path.name: path.stat() for path in cache.glob("packed/*.bin")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in files.items()}


def start_again(deployed: Deployed) -> None:
    """Someone deletes the replica's pod; returns when its successor serves."""
    before = uids(deployed.replicas())
    deployed.kubectl.delete("pod", "llama-0-0")

    def another() -> None:
        assert uids(deployed.replicas()).keys() == before.keys()
        assert uids(deployed.replicas()) != before

    eventually(another)
    deployed.serves()


def test_a_hub_is_asked_once_with_the_token_of_a_secret(
    cluster: Cluster, deployed: Deployed, checkpoint: Path, volumes: Volumes, cache: Path
) -> None:
    volumes.claim("downloads", cache)
    deployed.kubectl.apply(secret("hf_stale"))
    with serve_hub(checkpoint, cluster.host) as hub:
        model = {
            "name": "org/gated",
            "dtype": "Auto",
            "source": {"type": "HuggingFace", "huggingFace": {"endpoint": hub.url}},
            "tokenSecretRef": {"name": "hub"},
            "cache": {
                "type": "PersistentVolumeClaim",
                "persistentVolumeClaim": {"claimName": "downloads", "prefetch": False},
            },
        }
        deployed.apply({**SMALL, **QUICK, "model": model})
        refusal = "the hub refuses the token for org/gated (401)"
        assert "spec.model.tokenSecretRef" in deployed.expect("Ready", "CrashLoop", refusal)
        assert refusal in deployed.status()["recovery"]["lastFault"]["message"]
        assert WEIGHTS not in hub.fetched

        deployed.kubectl.apply(secret(TOKEN))
        deployed.serves()
        deployed.answers("org/gated")
        assert "WeightDownload" in {stage["name"] for stage in deployed.status()["startup"]["stages"]}
        start_again(deployed)
        assert hub.fetched.count(WEIGHTS) == 1, "the second start finds it"


def test_a_folder_of_a_claim_that_pods_may_not_read_at_first(
    deployed: Deployed, checkpoint: Path, volumes: Volumes
) -> None:
    (checkpoint / WEIGHTS).chmod(0o600)
    volumes.claim("models", checkpoint.parent)
    claim = {"claimName": "models", "path": f"/{checkpoint.name}"}
    source = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": claim}
    deployed.apply({**SMALL, **QUICK, "model": {"name": "in-house", "dtype": "Auto", "source": source}})
    deployed.expect("Ready", "CrashLoop", f"/vajra/model/tiny/{WEIGHTS}: user 65532 has no permission")
    (checkpoint / WEIGHTS).chmod(0o644)
    deployed.serves()
    deployed.answers("in-house")


def test_a_folder_of_the_nodes_and_what_is_made_of_it_once(deployed: Deployed, checkpoint: Path, cache: Path) -> None:
    source = {"type": "HostPath", "hostPath": {"path": str(checkpoint)}}
    kept = {"type": "HostPath", "hostPath": {"path": str(cache)}}
    model = {"name": "local", "dtype": "Auto", "source": source, "cache": kept}
    deployed.apply({**SMALL, **timed({"type": "Auto"}), "model": model})
    deployed.serves()
    assert "Profile" in {stage["name"] for stage in deployed.status()["startup"]["stages"]}
    assert deployed.answers("local")["predicted_prefill_seconds"] > 0
    ((name, (inode, used)),) = packed(cache).items()
    start_again(deployed)
    ((same_name, (same_inode, used_again)),) = packed(cache).items()
    assert (same_name, same_inode) == (name, inode)
    assert used_again > used
    assert "Profile" not in {stage["name"] for stage in deployed.status()["startup"]["stages"]}, "it is found"


def test_execution_times_come_from_a_config_map(deployed: Deployed, checkpoint: Path, tmp_path: Path) -> None:
    source = {"type": "HostPath", "hostPath": {"path": str(checkpoint)}}
    named = timed({"type": "ConfigMap", "configMap": {"name": "times"}})
    spec = {**SMALL, **QUICK, **named, "model": {"name": "local", "dtype": "Auto", "source": source}}
    deployed.apply(spec)
    deployed.expect("Ready", "ContainerCreating", "it needs the ConfigMap times with the key profile.json")
    deployed.kubectl.apply(times(profile().to_json()))
    message = deployed.expect("Ready", "ConfigRefused", "delete the pod to try again")
    for words in (
        "pod llama-0-0: spec.scheduler.profile: key profile.json of ConfigMap times (tiny, A processor)",
        "is of something else: ",
        "num_layers is 2 here and 4 in the profile",
        "`vajra profile MODEL`",
        "spec.scheduler.profile.type to Auto",
    ):
        assert words in message
    recovery = deployed.status()["recovery"]
    assert (recovery["groupRestarts"], recovery["lastFault"]["reason"]) == (1, "ConfigRefused")
    deployed.kubectl.apply(times(measured(spec, tmp_path)))
    deployed.kubectl.delete("pod", "llama-0-0")
    deployed.serves()
    assert deployed.answers("local")["predicted_prefill_seconds"] > 0
    assert "Profile" not in {stage["name"] for stage in deployed.status()["startup"]["stages"]}


def times(profile: str) -> dict[str, Any]:
    data = {"profile.json": profile}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "times"}, "data": data}


def measured(spec: dict[str, Any], folder: Path) -> str:
    """The profile that someone measures on a machine like the nodes, with the manifest that is to have it."""
    (folder / "deployment.yaml").write_text(json.dumps(manifest(spec)))
    command = [sys.executable, "-m", "vajra.cli", "profile", "-f", "deployment.yaml", "--seconds", "1"]
    subprocess.run([*command, "--output-dir", "profiles"], cwd=folder, check=True, capture_output=True, timeout=120)
    (made,) = folder.glob("profiles/**/profile.json")
    return made.read_text()

"""What the pods of a VajraDeployment may do: nothing that they need not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.cluster.cluster import Cluster
from tests.cluster.deployed import Deployed
from tests.cluster.kubectl import Kubectl

EXAMPLE = Path(__file__).parents[2] / "manifests" / "smollm2.yaml"
LOOK = """
import json, os
writable = []
for mount in open("/proc/mounts"):
    _, path, kind, options, *_ = mount.split()
    if "rw" in options.split(",") and os.path.isdir(path) and os.access(path, os.W_OK):
        if kind not in ("proc", "mqueue"):  # the kernel's own
            writable.append(path)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "user": os.getuid(),
    "writable": sorted(writable),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "may gain more": status["NoNewPrivs"].strip() == "0",
}))
"""


@pytest.mark.usefixtures("operator")
def test_the_example_serves_under_restricted_pod_security_and_its_pods_may_write_little(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    kubectl("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    spec = yaml.safe_load(EXAMPLE.read_text())["spec"]
    deployed = Deployed(kubectl)
    deployed.apply(spec)
    deployed.serves()
    for pod in (*deployed.replicas(), *deployed.gateways()):
        found = json.loads(kubectl.execute(pod, "python", "-c", LOOK))
        assert found == {
            "user": 65532,
            "writable": ["/dev/shm", "/tmp", "/vajra/cache"],
            "token": False,
            "capabilities": 0,
            "may gain more": False,
        }

"""A VajraDeployment of the embedded model that serves, and clients that ask it all the time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cluster.deployed import NAME, Deployed
from tests.cluster.images import MODEL
from tests.cluster.kubectl import KubectlError
from tests.cluster.traffic import Traffic
from tests.cluster.waiting import eventually

from vajra.operator.kinds import LABEL

_READY_SECONDS = 180
LEADER = "vajra.ai/role=leader"
GATEWAY = "vajra.ai/role=gateway"
SPEC: dict[str, Any] = {
    "replicas": 2,
    "model": {"name": MODEL, "source": {"type": "Embedded"}, "dtype": "Auto"},
    "resources": {"accelerator": {"type": "CPU"}, "cpu": 1, "memory": "1Gi"},
    # One thread each, and yet all of them may be on one node.
    "podTemplate": {"spec": {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "100m"}}}]}},
    "networking": {"openAIPort": 8000, "apiKeysSecretRef": {"name": "keys"}},
}
KEYS = {"rpc": "6a7c", "web": "c0de"}  # of the clients, by name
_KILL_A_WORKER = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"-m\\0vajra.worker" in path.read_bytes():
        os.kill(int(path.parent.name), signal.SIGKILL)
"""


def secret(keys: Mapping[str, str]) -> dict[str, Any]:
    """What SPEC's gateways ask keys of, by name."""
    entries = [{"name": name, "key": key} for name, key in keys.items()]
    data = {"api-keys.yaml": json.dumps(entries)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data}


@dataclass(frozen=True)
class Served(Deployed):
    """The VajraDeployment, and clients that ask it."""

    traffic: Traffic

    def pods(self, role: str) -> dict[str, dict[str, Any]]:
        """Its pods by UID, leaders or gateways; those that leave are not among them."""
        found = self.kubectl.find("pods", f"{LABEL}={NAME},{role}")
        return {each["metadata"]["uid"]: each for each in found if "deletionTimestamp" not in each["metadata"]}

    def wait_ready(self, *, lost: str = "") -> None:
        """Returns when it is Ready with as many replicas as it asks for, and no pod is left over.

        lost: a node that is gone, and whose kubelet cannot say that its pods have ended.
        """

        def check() -> None:
            wanted = self.kubectl.get("vajradeployment", NAME)["spec"]["replicas"]
            ready = self.condition("Ready")
            assert ready["status"] == "True", ready
            for role, count in ((LEADER, wanted), (GATEWAY, 2)):
                pods = self.kubectl.find("pods", f"{LABEL}={NAME},{role}")
                there = [each["metadata"]["name"] for each in pods if each["spec"].get("nodeName") != lost]
                assert len(there) == count, f"pods are left over: {there}"

        eventually(check, seconds=_READY_SECONDS, interval=0.5)

    def occupy(self, node: str, others: Sequence[str]) -> None:
        """Sees to it that a node has a replica and a gateway."""
        for role in (LEADER, GATEWAY):
            if not self.on(node, role):
                self.kubectl("cordon", *others)
                self.kubectl.delete("pod", next(iter(self.pods(role).values()))["metadata"]["name"])
                self.wait_ready()
                self.kubectl("uncordon", *others)

    def kill_a_worker(self) -> None:
        """SIGKILL for the worker of the first replica."""
        leader = next(iter(self.pods(LEADER).values()))
        self.kubectl.execute(leader["metadata"]["name"], "python", "-c", _KILL_A_WORKER)

    def secret_changes(self, keys: Mapping[str, str]) -> None:
        """The Secret has other keys. Nodes would look within a minute or so; a change of a pod makes them look now."""
        self.kubectl.apply(secret(keys))
        for pod in self.pods(GATEWAY).values():
            self.kubectl("annotate", "--overwrite", "pod", pod["metadata"]["name"], f"example.org/keys={len(keys)}")

    def evict(self, pod: str) -> None:
        """Asks for the eviction of a pod until it is granted."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{pod}/eviction"

        def granted() -> None:
            try:
                self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
            except KubectlError as error:
                if "disruption budget" in str(error):
                    raise AssertionError("not granted yet") from error
                raise

        eventually(granted, seconds=_READY_SECONDS, interval=1)

    def on(self, node: str, role: str) -> list[str]:
        """Names of its pods on a node."""
        pods = self.pods(role).values()
        return [each["metadata"]["name"] for each in pods if each["spec"].get("nodeName") == node]

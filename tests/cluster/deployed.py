"""A VajraDeployment `llama` that the operator keeps on nodes, and a client of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.cluster.deployments import manifest
from tests.cluster.kubectl import Kubectl
from tests.cluster.manifests import pod
from tests.cluster.waiting import eventually

from vajra.operator.planning import names

NAME = "llama"
SERVING_SECONDS = 120
# What small models need, and no wait for clients that there are not.
SMALL: dict[str, Any] = {
    "resources": {"accelerator": {"type": "CPU"}, "memory": "512Mi", "sharedMemory": "64Mi"},
    "networking": {"openAIPort": 8000},
    "drain": {"timeoutSeconds": 5, "endpointGraceSeconds": 0},
}
_COMPLETE = """
import json, sys, urllib.request
url, model = sys.argv[1:]
body = {"model": model, "prompt": "One, two, three,", "max_tokens": 4, "ignore_eos": True, "temperature": 0}
body["ledger"] = True
request = urllib.request.Request(url + "/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


@dataclass(frozen=True)
class Deployed:
    """It is in the namespace of `kubectl`."""

    kubectl: Kubectl

    def apply(self, spec: dict[str, Any]) -> None:
        """Makes it, or what it is, so."""
        self.kubectl.apply(manifest(spec, NAME))

    def patch(self, **spec: Any) -> None:
        """Changes fields of its spec."""
        self.kubectl.patch("vajradeployment", NAME, {"spec": spec})

    def status(self) -> dict[str, Any]:
        """Its status of the newest generation. AssertionError while there is none."""
        found = self.kubectl.get("vajradeployment", NAME)
        status: dict[str, Any] = found.get("status", {})
        assert status.get("observedGeneration") == found["metadata"]["generation"], "the operator has not seen it yet"
        return status

    def condition(self, kind: str) -> dict[str, Any]:
        """One of its conditions, of the newest generation. AssertionError while there is none."""
        return next(each for each in self.status()["conditions"] if each["type"] == kind)

    def expect(self, kind: str, reason: str, words: str = "", *, seconds: float = 60) -> str:
        """Waits until a condition has this reason, and a message with these words; the message."""

        def check() -> str:
            found = self.condition(kind)
            assert (found["reason"], words in found["message"]) == (reason, True), found
            return str(found["message"])

        return eventually(check, seconds=seconds, interval=0.5)

    def serves(self) -> None:
        """Waits until it is Ready, as it is asked for, and nothing else is left."""

        def check() -> None:
            found = self.condition("Ready")
            assert found["status"] == "True", found
            wanted = self.kubectl.get("vajradeployment", NAME)["spec"]["replicas"]
            assert len(self.replicas()) == wanted, "one is still leaving"

        eventually(check, seconds=SERVING_SECONDS, interval=0.5)

    def replicas(self) -> dict[str, dict[str, Any]]:
        """The pods of its replicas, by name."""
        return self._pods("replica")

    def gateways(self) -> dict[str, dict[str, Any]]:
        """The pods of its gateways, by name."""
        return self._pods("gateway")

    def _pods(self, component: str) -> dict[str, dict[str, Any]]:
        selector = ",".join(f"{key}={value}" for key, value in names.component_selector(NAME, component).items())
        return {each["metadata"]["name"]: each for each in self.kubectl.find("pods", selector)}

    def answers(self, model: str) -> dict[str, Any]:
        """A client in a pod asks through the Service and gets the four tokens that it asked for. What became of them in
        the replica: a stay of the ledger."""
        self.kubectl.apply(pod("client", "sleep", "infinity"))
        self.kubectl.wait("condition=Ready", "pod/client")
        url = self.status()["endpoint"]["openAI"]
        answer = json.loads(self.kubectl.execute("client", "python", "-c", _COMPLETE, url, model))
        assert answer["usage"]["completion_tokens"] == 4
        (stay,) = answer["choices"][0]["ledger"]
        return dict(stay)


def uids(pods: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What tells pods from their successors of the same name."""
    return {name: each["metadata"]["uid"] for name, each in pods.items()}

"""The same on kind (https://kind.sigs.k8s.io): for machines with Docker and a registry, without root."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.images import CLIENT, DOCKERFILES, IMAGES, MODEL, PROJECT, REPLICA
from tests.cluster.kubectl import Kubectl

NAME = "vajra-test"
_CONFIG = Path(__file__).with_name("kind.yaml")
# Packets are dropped before anything else sees them, the node's and its pods' alike.
_CUT = (("raw", "PREROUTING", "-i"), ("mangle", "POSTROUTING", "-o"))


class KindCluster:
    """A `tests.cluster.cluster.Cluster` that kind made. Nodes are containers."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig

    @property
    def host(self) -> str:
        networks = json.loads(_run("docker", "network", "inspect", "kind"))[0]["IPAM"]["Config"]
        gateways = (str(network["Gateway"]) for network in networks if "Gateway" in network)
        return next(gateway for gateway in gateways if ipaddress.ip_address(gateway).version == 4)

    def load_images(self) -> None:
        """Builds the images from this tree, and puts them onto all nodes."""
        arguments = {REPLICA: f"MODEL={MODEL}", CLIENT: f"REPLICA={REPLICA}"}
        for image in IMAGES:
            settings = ("--build-arg", arguments[image]) if image in arguments else ()
            _run("docker", "build", "-f", DOCKERFILES[image], "-t", image, *settings, ".")
        _run("kind", "load", "docker-image", "--name", NAME, *IMAGES)

    def tag(self, image: str, other: str) -> None:
        for node in _run("kind", "get", "nodes", "--name", NAME).split():
            _run("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, other)

    def kill(self, node: str, container: str) -> None:
        _run("docker", "exec", node, "ctr", "-n", "k8s.io", "tasks", "kill", "--signal=SIGKILL", container)

    def cut(self, node: str) -> None:
        for table, chain, direction in _CUT:
            _run("docker", "exec", node, "iptables", "-t", table, "-I", chain, direction, "eth0", "-j", "DROP")

    def mend(self, node: str) -> None:
        for table, chain, direction in _CUT:
            _run("docker", "exec", node, "iptables", "-t", table, "-D", chain, direction, "eth0", "-j", "DROP")


def missing() -> list[str]:
    """What this machine lacks for kind."""
    programs = [program for program in ("docker", "kind", "kubectl") if shutil.which(program) is None]
    return [f"CLUSTER=kind needs {', '.join(programs)}"] if programs else []


@contextmanager
def running() -> Iterator[KindCluster]:
    """A cluster that lives as long as the context."""
    with tempfile.TemporaryDirectory() as scratch:
        kubeconfig = Path(scratch) / "kubeconfig"
        _run(
            "kind",
            "create",
            "cluster",
            "--name",
            NAME,
            f"--config={_CONFIG}",
            f"--kubeconfig={kubeconfig}",
            "--wait=2m",
        )
        try:
            cluster = KindCluster(Kubectl(Path("kubectl"), kubeconfig))
            cluster.load_images()
            yield cluster
        finally:
            _run("kind", "delete", "cluster", "--name", NAME, f"--kubeconfig={kubeconfig}")


def _run(*command: str) -> str:
    """Runs a command in the project's folder. Raises RuntimeError with the end of what it said."""
    result = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{(result.stdout + result.stderr)[-4000:]}")
    return result.stdout

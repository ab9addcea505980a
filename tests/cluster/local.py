"""A cluster of this machine's own: a control plane, nodes in network namespaces, and DNS. It needs root."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import control_plane, dns, folders, image_store, images
from tests.cluster.binaries import Binaries, MissingError, cache
from tests.cluster.cluster import is_ready
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import Kubectl
from tests.cluster.network import Network
from tests.cluster.node import Node, node_data
from tests.cluster.waiting import eventually


class LocalCluster:
    """A `tests.cluster.cluster.Cluster` in a folder, running."""

    def __init__(self, folder: Path, kubectl: Kubectl) -> None:
        self.folder = folder
        self.kubectl = kubectl
        self.network = Network(_slot(folder))

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig

    @property
    def host(self) -> str:
        return self.network.host

    def load_images(self) -> None:
        """Builds the images from this tree, and puts them onto nodes that run already, unless that was done."""
        images.build()
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            for image in images.IMAGES:
                stored = images.stored(image)  # the name that tells trees apart
                if lacking := [node for node in _nodes(self.folder) if not node.containerd.has(stored)]:
                    archive = images.archive(image, Path(scratch))
                    for node in lacking:
                        node.containerd.load(archive)
                        node.containerd.tag(image, stored)

    def tag(self, image: str, other: str) -> None:
        for node in _nodes(self.folder):
            node.containerd.tag(image, other)

    def kill(self, node: str, container: str) -> None:
        Node(self.folder, self.network, _index(node)).containerd.kill(container)

    def cut(self, node: str) -> None:
        self.network.cut(_index(node))

    def mend(self, node: str) -> None:
        self.network.mend(_index(node))


def start(folder: Path, binaries: Binaries, nodes: int, *, with_images: bool = True) -> LocalCluster:
    """Starts a cluster in an empty folder of `claim_nodes`, with the images of this tree on all nodes.

    Returns when all nodes are ready. What was started stays on failure; `tear_down` removes it.
    """
    network = Network(_slot(folder))
    members = [Node(folder, network, index) for index in range(1, nodes + 1)]
    if with_images:
        images.build()
    shutil.rmtree(node_data(network.slot), ignore_errors=True)  # it outlives a reboot, its cluster's folder does not
    for node in members:
        node.data.mkdir(parents=True)
        image_store.prepare(binaries, images.IMAGES if with_images else (), node.data / "containerd")
    network.up(nodes)
    plane = control_plane.start(folder, binaries, network.host)
    dns.start(plane, binaries, network.host)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.start(plane, binaries), members))
    for node in members:
        _wait_ready(plane, node)
    return LocalCluster(folder, plane.kubectl)


def tear_down(folder: Path) -> None:
    """Removes the cluster in a folder and the folder, whatever its state is. A control plane alone is one, too."""
    slot = folders.slot_of(folder)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Node.stop, _nodes(folder)))
    dns.stop(folder)
    control_plane.stop(folder)
    if slot is not None:
        Network(slot).down()
        shutil.rmtree(node_data(slot), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Removes the clusters that killed processes left behind."""
    for claim in folders.abandoned():
        tear_down(claim.folder)


@contextmanager
def running(binaries: Binaries, nodes: int) -> Iterator[LocalCluster]:
    """A cluster that lives as long as the context."""
    claim = claim_nodes()
    try:
        yield start(claim.folder, binaries, nodes)
    finally:
        tear_down(claim.folder)
        claim.release()


@contextmanager
def running_api(binaries: Binaries, *, api_server: Sequence[object] = ()) -> Iterator[ControlPlane]:
    """A control plane alone that lives as long as the context. api_server: further flags of it."""
    sweep()
    claim = folders.claim_api()
    try:
        yield control_plane.start(claim.folder, binaries, api_server=api_server)
    finally:
        tear_down(claim.folder)
        claim.release()


def claim_nodes() -> folders.Claim:
    """A folder for a cluster with nodes. Raises MissingError when there are too many already."""
    sweep()
    claim = folders.claim_nodes()
    if claim is None:
        raise MissingError(
            f"{folders.MAX_NODE_CLUSTERS} clusters with nodes run here already: `make cluster-down` ends those of "
            f"`make cluster-up`"
        )
    return claim


def _slot(folder: Path) -> int:
    slot = folders.slot_of(folder)
    assert slot is not None, f"{folder} is no folder of a cluster with nodes"
    return slot


def _nodes(folder: Path) -> list[Node]:
    slot = folders.slot_of(folder)
    if slot is None:
        return []
    return [Node(folder, Network(slot), _index(path.name)) for path in sorted(folder.glob("n[0-9]")) if path.is_dir()]


def _index(node: str) -> int:
    return int(node.removeprefix("n"))


def _wait_ready(plane: ControlPlane, node: Node) -> None:
    def check() -> None:
        node.check()
        assert is_ready(plane.kubectl, node.name), f"{node.name} is not ready; see {node.folder}/kubelet.log"

    eventually(check, seconds=60)

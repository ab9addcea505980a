"""One node: containerd, kubelet and kube-proxy in a network namespace of their own."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.binaries import Binaries, cache
from tests.cluster.containerd import Containerd
from tests.cluster.control_plane import ControlPlane
from tests.cluster.network import Network
from tests.cluster.processes import Daemons

_CNI_RESULTS = Path("/var/lib/cni/results")  # CNI's notes on the network namespaces that it has set up


def node_data(slot: int) -> Path:
    """Where the nodes of a cluster keep what is large: beside the stores of images, with which it shares files."""
    return cache() / "nodes" / f"{slot}"


@dataclass(frozen=True)
class Node:
    """A node of the cluster in the folder `cluster`."""

    cluster: Path
    network: Network
    index: int

    @property
    def name(self) -> str:
        return f"n{self.index}"

    @property
    def folder(self) -> Path:
        """Its settings, logs and sockets."""
        return self.cluster / self.name

    @property
    def data(self) -> Path:
        """Image layers, and pods' volumes and logs. containerd's own part of it is `data / "containerd"`."""
        return node_data(self.network.slot) / self.name

    @property
    def containerd(self) -> Containerd:
        return Containerd(self.folder, self.data / "containerd")

    def start(self, plane: ControlPlane, binaries: Binaries) -> None:
        """Starts it, with the images that are in `data / "containerd"`. Raises DaemonError or AssertionError."""
        self.folder.mkdir()
        cgroups.create(self._name)
        inside = self.network.enter(self.index)
        self.containerd.start(inside, self._networks())
        kubeconfig = plane.user(self.name, user=f"system:node:{self.name}", group="system:nodes")
        kubelet: list[object] = [binaries["kubelet"], "--config", self._kubelet_config(plane)]
        kubelet += ["--kubeconfig", kubeconfig, "--hostname-override", self.name, "--root-dir", self.data / "kubelet"]
        kubelet += ["--node-ip", self.network.node(self.index)]
        kubelet += ["--node-labels", f"topology.kubernetes.io/zone=z{self.index}"]
        self._daemons.start("kubelet", [*inside, *kubelet])
        proxy = self._proxy_config(plane.user(f"{self.name}-kube-proxy", user="system:kube-proxy"))
        self._daemons.start("kube-proxy", [*inside, binaries["kube-proxy"], "--config", proxy])

    def check(self) -> None:
        """Raises DaemonError when one of its daemons has ended."""
        for name in ("containerd", "kubelet", "kube-proxy"):
            self._daemons.check(name)

    def stop(self) -> None:
        """Ends everything of it without grace, and removes what it made, also after a start that failed."""
        self._daemons.stop("kube-proxy")
        self._daemons.stop("kubelet")
        self.containerd.stop()
        self._unmount()
        self._remove_pod_networks()
        self._remove_log_links()
        cgroups.remove(self._name)

    @property
    def _name(self) -> str:
        """On this machine, where other clusters have nodes of the same name."""
        return self.network.namespace(self.index)

    @property
    def _daemons(self) -> Daemons:
        return Daemons(self.folder)

    def _unmount(self) -> None:
        """Volumes and root file systems of containers."""
        ours = (f"{self.data}/", f"{self.folder}/")
        targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for target in reversed([target for target in targets if target.startswith(ours)]):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)

    def _remove_pod_networks(self) -> None:
        """Pods that were killed leave their network namespaces."""
        for note in list(_CNI_RESULTS.glob(f"{self._name}-*")):
            made = json.loads(note.read_text())
            for interface in made["result"]["interfaces"]:
                if namespace := interface.get("sandbox"):
                    command = ["ip", "netns", "del", Path(namespace).name]
                    subprocess.run(command, check=False, capture_output=True)
            for of_the_same in list(_CNI_RESULTS.glob(f"*-{made['containerId']}-*")):
                of_the_same.unlink()

    def _remove_log_links(self) -> None:
        """kubelet links its logs in a folder that all nodes share."""
        for link in Path("/var/log/containers").glob("*.log"):
            with suppress(OSError):  # another node's, just removed
                if link.readlink().is_relative_to(self.data):
                    link.unlink()

    def _networks(self) -> Path:
        """CNI's folder, with the only network of a node's pods."""
        folder = self.folder / "cni"
        folder.mkdir()
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,  # or pods of other nodes would see the node's address
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.data / "addresses"),
                "ranges": [[{"subnet": self.network.pods_of(self.index)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        _write_json(folder / "bridge.conflist", {"cniVersion": "1.0.0", "name": self._name, "plugins": [bridge]})
        return folder

    def _kubelet_config(self, plane: ControlPlane) -> Path:
        address = self.network.node(self.index)
        certificate, key = plane.authority.issue(
            f"{self.name}-server", user=self.name, addresses=[address], hosts=[self.name]
        )
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
            "address": address,
            "healthzBindAddress": "127.0.0.1",
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "authentication": {"x509": {"clientCAFile": str(plane.authority.certificate)}},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._name}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDomain": "cluster.local",
            "clusterDNS": [self.network.host],
            "resolvConf": "",
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "2s",
            "volumePluginDir": str(self.data / "volume-plugins"),
            "podLogsDir": str(self.data / "logs"),
            # The disk is the machine's: how full it is, is not a test's matter.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "makeIPTablesUtilChains": False,
        }
        return _write_json(self.folder / "kubelet.json", config)

    def _proxy_config(self, kubeconfig: Path) -> Path:
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": self.name,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": self.network.pods,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "conntrack": {"maxPerCore": 0},  # the limit is the machine's
        }
        return _write_json(self.folder / "kube-proxy.json", config)


def _write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path

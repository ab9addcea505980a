"""One node: containerd, kubelet and kube-proxy in a network namespace of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.binaries import Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.network import Network
from tests.cluster.processes import Daemons
from tests.cluster.waiting import eventually

PAUSE_IMAGE = "localhost/pause:1"
CNI_PLUGINS = Path("/usr/lib/cni")
_DATA = Path("/var/lib/vajra-cluster")  # image layers and pods' volumes


@dataclass(frozen=True)
class Node:
    """A node of the cluster in `folder`; its files are in a folder of its own there, and below /var/lib."""

    cluster: Path
    network: Network
    index: int

    @property
    def name(self) -> str:
        return f"n{self.index}"

    @property
    def folder(self) -> Path:
        return self.cluster / self.name

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.folder / "containerd.sock"

    @property
    def _data(self) -> Path:
        return _DATA / f"{self.network.slot}" / self.name

    @property
    def _cgroup(self) -> str:
        return self.network.namespace(self.index)

    @property
    def _daemons(self) -> Daemons:
        return Daemons(self.folder)

    def start(self, plane: ControlPlane, binaries: Binaries, pause: Path) -> None:
        """Starts it; `pause` is the archive of PAUSE_IMAGE.

        Raises DaemonError, AssertionError or CalledProcessError.
        """
        self.folder.mkdir()
        self._data.mkdir(parents=True)
        cgroups.create(self._cgroup)
        inside = self.network.enter(self.index)
        self._daemons.start("containerd", [*inside, "containerd", "--config", self._containerd_config()])
        eventually(self._check_containerd, seconds=30)
        self.load(pause)
        kubeconfig = plane.user(self.name, user=f"system:node:{self.name}", group="system:nodes")
        kubelet: list[object] = [binaries["kubelet"], "--config", self._kubelet_config(plane)]
        kubelet += ["--kubeconfig", kubeconfig, "--hostname-override", self.name, "--root-dir", self._data / "kubelet"]
        kubelet += ["--node-ip", self.network.node(self.index)]
        kubelet += ["--node-labels", f"topology.kubernetes.io/zone=z{self.index}"]
        self._daemons.start("kubelet", [*inside, *kubelet])
        proxy = self._proxy_config(plane.user(f"{self.name}-kube-proxy", user="system:kube-proxy"))
        self._daemons.start("kube-proxy", [*inside, binaries["kube-proxy"], "--config", proxy])

    def check(self) -> None:
        """Raises DaemonError when one of its daemons has ended."""
        for name in ("containerd", "kubelet", "kube-proxy"):
            self._daemons.check(name)

    def load(self, archive: Path) -> None:
        """Imports the images of an archive. Raises CalledProcessError."""
        self._ctr("images", "import", str(archive), seconds=300)

    def tag(self, image: str, other: str) -> None:
        """Gives an image another name."""
        self._ctr("images", "tag", "--force", image, other)

    def stop(self) -> None:
        """Ends everything of it without grace, and removes what it made, also after a start that failed."""
        self._daemons.stop("kube-proxy")
        self._daemons.stop("kubelet")
        self._end_containers()
        self._daemons.stop("containerd")
        self._kill_shims()
        self._unmount()
        cgroups.remove(self._cgroup)
        shutil.rmtree(self._data, ignore_errors=True)

    def _check_containerd(self) -> None:
        self._daemons.check("containerd")
        try:
            self._ctr("version")
        except subprocess.CalledProcessError as e:
            raise AssertionError(f"containerd of {self.name} does not answer: {e.stderr}") from e

    def _ctr(self, *arguments: str, seconds: float = 20) -> str:
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout

    def _end_containers(self) -> None:
        """Containers outlive kubelet and containerd, so they go first."""
        if not self.socket.exists():
            return
        errors = (subprocess.CalledProcessError, subprocess.TimeoutExpired)  # containerd was killed, perhaps
        with suppress(*errors):
            for task in self._ctr("tasks", "ls", "-q").split():
                with suppress(*errors):
                    self._ctr("tasks", "rm", "--force", task)

    def _kill_shims(self) -> None:
        """Each container's parent is a shim, a process that neither containerd nor we are a parent of."""
        address = f"-address\0{self.socket}\0".encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended
                if address in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def _unmount(self) -> None:
        """Volumes, root file systems, and the files that hold pods' network namespaces."""
        ours = (f"{self._data}/", f"{self.folder}/")
        targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for target in reversed([target for target in targets if target.startswith(ours)]):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)

    def _containerd_config(self) -> Path:
        cni = self.folder / "cni"
        cni.mkdir()
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,  # or pods of other nodes would see the node's address
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self._data / "addresses"),
                "ranges": [[{"subnet": self.network.pods_of(self.index)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        _write_json(cni / "bridge.conflist", {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})
        config = self.folder / "containerd.toml"
        config.write_text(
            f"""version = 2
root = "{self._data}/containerd"
state = "{self.folder}/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  stream_server_address = "127.0.0.1"
  # Without CAP_SYS_RESOURCE nobody may go below the score that it was started with, as kubelet asks for its sandboxes.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{cni}"
"""
        )
        return config

    def _kubelet_config(self, plane: ControlPlane) -> Path:
        address = self.network.node(self.index)
        certificate, key = plane.authority.issue(
            f"{self.name}-server", user=self.name, addresses=[address], hosts=[self.name]
        )
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "address": address,
            "healthzBindAddress": "127.0.0.1",
            "tlsCertFile": str(certificate),
            "tlsPrivateKeyFile": str(key),
            "authentication": {"x509": {"clientCAFile": str(plane.authority.certificate)}},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._cgroup}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDomain": "cluster.local",
            "clusterDNS": [self.network.host],
            "resolvConf": "",
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "2s",
            "volumePluginDir": str(self._data / "volume-plugins"),
            "podLogsDir": str(self._data / "logs"),
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

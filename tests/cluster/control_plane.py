"""A control plane of plain processes: etcd, the API server and, where there are any, its controllers and scheduler."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import Binaries
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.pki import Authority
from tests.cluster.processes import Daemons, free_port
from tests.cluster.waiting import eventually

SERVICE_CIDR = "198.18.128.0/20"
KUBERNETES_SERVICE = "198.18.128.1"
# Any pod that a test makes needs its namespace's service account. With the default limits of the controller manager's
# client that comes five seconds later.
_CLIENT_LIMITS = ("--kube-api-qps", 300, "--kube-api-burst", 600)
# A node that is cut off is soon seen to be.
_NODE_MONITOR = ("--node-monitor-grace-period", "10s", "--node-monitor-period", "1s")
_STOP_ORDER = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


@dataclass(frozen=True)
class ControlPlane:
    """One in a folder, running. `server` is its URL; `address` the one it listens at."""

    folder: Path
    binaries: Binaries
    server: str
    address: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "admin.kubeconfig"

    @property
    def has_controllers(self) -> bool:
        """Whether objects have controllers and pods a scheduler; envtest's binaries bring neither."""
        return "kube-controller-manager" in self.binaries and "kube-scheduler" in self.binaries

    @property
    def authority(self) -> Authority:
        return Authority(self.folder / "pki")

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.binaries["kubectl"], self.kubeconfig)

    def user(self, name: str, *, user: str, group: str | None = None) -> Path:
        """A kubeconfig for another user."""
        return self.authority.kubeconfig(self.folder / f"{name}.kubeconfig", self.server, user=user, group=group)


def start(
    folder: Path, binaries: Binaries, address: str = "127.0.0.1", *, api_server: Sequence[object] = ()
) -> ControlPlane:
    """Starts one, and returns when a pod can be created in the namespace `default`. api_server: further flags of it.

    Raises DaemonError or AssertionError. What was started stays on failure; `stop` ends it.
    """
    authority = Authority.create(folder / "pki")
    port = free_port(address)
    plane = ControlPlane(folder, binaries, f"https://{address}:{port}", address)
    plane.user("admin", user="admin", group="system:masters")
    daemons = Daemons(folder)
    etcd = _start_etcd(daemons, binaries, folder)
    _start_api_server(daemons, plane, authority, port, etcd, api_server)
    if plane.has_controllers:
        _start_controllers(daemons, plane, authority)
        wait_for_service_account(plane.kubectl)
    return plane


def stop(folder: Path) -> None:
    """Ends what `start` started in a folder."""
    for name in _STOP_ORDER:
        Daemons(folder).stop(name, grace_seconds=3)


def wait_for_service_account(kubectl: Kubectl) -> None:
    """Returns when pods are accepted in its namespace. Raises AssertionError."""

    def check() -> None:
        try:
            kubectl("get", "serviceaccount", "default")
        except KubectlError as e:
            raise AssertionError(f"the namespace {kubectl.namespace} has no default service account: {e}") from e

    eventually(check, seconds=30, interval=0.05)


def _start_etcd(daemons: Daemons, binaries: Binaries, folder: Path) -> str:
    client, peer = (f"http://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(2))
    urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    urls += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    data = ("--data-dir", folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn")
    daemons.start("etcd", [binaries["etcd"], *data, *urls])
    _wait_for(daemons, "etcd", f"{client}/health")
    return client


def _start_api_server(
    daemons: Daemons, plane: ControlPlane, authority: Authority, port: int, etcd: str, more: Sequence[object]
) -> None:
    in_cluster = "kubernetes.default.svc.cluster.local"
    hosts = ["localhost", *(".".join(in_cluster.split(".")[:n]) for n in (1, 2, 3)), in_cluster]
    addresses = sorted({"127.0.0.1", plane.address, KUBERNETES_SERVICE})
    certificate, key = authority.issue("kube-apiserver", user="kube-apiserver", addresses=addresses, hosts=hosts)
    kubelet_certificate, kubelet_key = authority.issue("kubelet-client", user="kubelet-client", group="system:masters")
    command: list[object] = [plane.binaries["kube-apiserver"], "--etcd-servers", etcd, "--secure-port", port]
    command += ["--bind-address", plane.address, "--advertise-address", plane.address]
    command += ["--tls-cert-file", certificate, "--tls-private-key-file", key]
    command += ["--client-ca-file", authority.certificate, "--authorization-mode", "Node,RBAC"]
    command += ["--kubelet-client-certificate", kubelet_certificate, "--kubelet-client-key", kubelet_key]
    command += ["--kubelet-preferred-address-types", "InternalIP", "--allow-privileged", "--profiling=false"]
    command += ["--service-account-issuer", f"https://{in_cluster}", "--service-cluster-ip-range", SERVICE_CIDR]
    command += ["--service-account-signing-key-file", authority.service_account_key]
    command += ["--service-account-key-file", authority.service_account_public_key]
    command += ["--enable-admission-plugins", "NodeRestriction"]
    if not plane.has_controllers:  # nobody makes service accounts, which pods would wait for
        command += ["--disable-admission-plugins", "ServiceAccount"]
    if plane.address.startswith("127."):  # which may not be an endpoint of the Service `kubernetes`
        command += ["--endpoint-reconciler-type", "none"]
    daemons.start("kube-apiserver", [*command, *more])
    _wait_for(daemons, "kube-apiserver", f"{plane.server}/readyz", authority)


def _start_controllers(daemons: Daemons, plane: ControlPlane, authority: Authority) -> None:
    manager = plane.user("kube-controller-manager", user="system:kube-controller-manager")
    scheduler = plane.user("kube-scheduler", user="system:kube-scheduler")
    command: list[object] = [plane.binaries["kube-controller-manager"], *_serve(manager), "--leader-elect=false"]
    command += ["--kubeconfig", manager, "--use-service-account-credentials", *_CLIENT_LIMITS, *_NODE_MONITOR]
    command += ["--service-account-private-key-file", authority.service_account_key]
    command += ["--root-ca-file", authority.certificate]
    command += ["--cluster-signing-cert-file", authority.certificate, "--cluster-signing-key-file", authority.key]
    daemons.start("kube-controller-manager", command)

    config = plane.folder / "kube-scheduler.json"
    settings = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(scheduler)},
        "leaderElection": {"leaderElect": False},
    }
    config.write_text(json.dumps(settings))
    daemons.start("kube-scheduler", [plane.binaries["kube-scheduler"], "--config", config, *_serve(scheduler)])


def _serve(kubeconfig: Path) -> tuple[object, ...]:
    """Flags of a controller's own server, which nobody asks."""
    review = ("--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig)
    return ("--bind-address", "127.0.0.1", "--secure-port", free_port("127.0.0.1"), "--cert-dir", "", *review)


def _wait_for(daemons: Daemons, name: str, url: str, authority: Authority | None = None) -> None:
    """Returns when the URL answers 200. Raises DaemonError when the daemon has ended, AssertionError after a minute."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)

    def check() -> None:
        daemons.check(name)
        try:
            opener.open(url, timeout=2).close()
        except urllib.error.HTTPError as e:
            reason = e.read().decode(errors="replace")
            raise AssertionError(f"{name} is not ready: {reason}\n{daemons.tail(name)}") from e
        except OSError as e:
            raise AssertionError(f"{name} does not answer: {e}\n{daemons.tail(name)}") from e

    eventually(check, seconds=60, interval=0.05)

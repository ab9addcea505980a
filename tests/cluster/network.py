"""The network of a cluster with nodes: a bridge on this machine, and a network namespace for each node.

All addresses are of 198.18.0.0/15, which is set aside for test networks, so that they meet no real ones.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import folders

# Bridged packets would pass the machine's own packet filter, which may drop them (Docker's does). The switch is the
# machine's: it is set back when the last cluster goes.
_FILTER_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass(frozen=True)
class Network:
    """The names and addresses of the cluster with this number. Nodes are counted from 1."""

    slot: int

    @property
    def bridge(self) -> str:
        return f"vajra{self.slot}"

    @property
    def host(self) -> str:
        """This machine, as nodes and pods see it: the API server, DNS, and whatever a test serves."""
        return f"198.18.{self.slot}.1"

    @property
    def pods(self) -> str:
        return f"198.19.{self.slot * 16}.0/20"

    def node(self, index: int) -> str:
        return f"198.18.{self.slot}.{10 + index}"

    def pods_of(self, index: int) -> str:
        return f"198.19.{self.slot * 16 + index}.0/24"

    def namespace(self, index: int) -> str:
        return f"vajra{self.slot}-n{index}"

    def link(self, index: int) -> str:
        """The bridge's end of a node's only link."""
        return f"vajra{self.slot}n{index}"

    def enter(self, index: int) -> tuple[str, ...]:
        """What runs a command in a node's network. (`ip netns exec` would hide the cgroups.)"""
        return ("nsenter", f"--net=/run/netns/{self.namespace(index)}")

    def up(self, nodes: int) -> None:
        """Makes the bridge and the nodes' namespaces."""
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        _stop_filtering()
        for index in range(1, nodes + 1):
            self._add_node(index, nodes)

    def down(self) -> None:
        """Removes what `up` made, or a part of it."""
        # The links first: a namespace is torn down in the kernel's own time, and its link may outlive its name.
        for link in sorted(Path("/sys/class/net").glob(f"{self.bridge}n*")):
            _ip("link", "del", link.name)
        for namespace in sorted(Path("/run/netns").glob(f"{self.bridge}-n*")):
            _ip("netns", "del", namespace.name)
        if Path("/sys/class/net", self.bridge).exists():
            _ip("link", "del", self.bridge)
        if not list(Path("/sys/class/net").glob("vajra[0-9]")):
            _filter_again()

    def cut(self, index: int) -> None:
        """Cuts a node and its pods off from everything."""
        _ip("link", "set", self.link(index), "down")

    def mend(self, index: int) -> None:
        """Undoes `cut`."""
        _ip("link", "set", self.link(index), "up")

    def _add_node(self, index: int, nodes: int) -> None:
        namespace = self.namespace(index)
        _ip("netns", "add", namespace)
        _ip("link", "add", self.link(index), "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", self.link(index), "master", self.bridge, "up")
        inside = self.enter(index)
        _ip("link", "set", "lo", "up", inside=inside)
        _ip("addr", "add", f"{self.node(index)}/24", "dev", "eth0", inside=inside)
        _ip("link", "set", "eth0", "up", inside=inside)
        _ip("route", "add", "default", "via", self.host, inside=inside)
        _ip("route", "add", self.pods_of(index), "via", self.node(index))
        for other in range(1, nodes + 1):
            if other != index:
                _ip("route", "add", self.pods_of(other), "via", self.node(other), inside=inside)
        settings = ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"]
        if _FILTER_BRIDGED.exists():  # a Service's address may stand for a pod on the same bridge
            settings.append("net.bridge.bridge-nf-call-iptables=1")
        _run([*inside, "sysctl", "-qw", *settings])


def _saved() -> Path:
    return folders.root() / "bridge-nf-call-iptables"


def _stop_filtering() -> None:
    if _FILTER_BRIDGED.exists():
        if not _saved().exists():
            _saved().write_text(_FILTER_BRIDGED.read_text())
        _FILTER_BRIDGED.write_text("0")


def _filter_again() -> None:
    if _saved().exists():
        _FILTER_BRIDGED.write_text(_saved().read_text())
        _saved().unlink()


def _ip(*arguments: str, inside: Sequence[str] = ()) -> None:
    _run([*inside, "ip", *arguments])


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")

"""CoreDNS as a process on this machine, for a cluster's pods."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.cluster.binaries import Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import Daemons
from tests.cluster.waiting import eventually

_READY = "http://{address}:8181/ready"


def start(plane: ControlPlane, binaries: Binaries, address: str) -> None:
    """Serves the cluster's names at port 53 of the address. Raises DaemonError or AssertionError."""
    kubeconfig = plane.user("coredns", user="coredns", group="system:masters")
    corefile = plane.folder / "Corefile"
    # Answers live for a second: tests watch pods come and go.
    corefile.write_text(
        f""".:53 {{
  bind {address}
  errors
  ready {address}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
"""
    )
    daemons = Daemons(plane.folder)
    daemons.start("coredns", [binaries["coredns"], "-conf", corefile])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def check() -> None:
        daemons.check("coredns")
        try:
            opener.open(_READY.format(address=address), timeout=2).close()
        except OSError as e:
            raise AssertionError(f"coredns is not ready: {e}\n{daemons.tail('coredns')}") from e

    eventually(check, seconds=30)


def stop(folder: Path) -> None:
    """Ends it."""
    Daemons(folder).stop("coredns", grace_seconds=2)

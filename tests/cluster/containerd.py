"""One containerd, and the containers that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster.processes import Daemons
from tests.cluster.waiting import eventually

_CONFIG = """version = 2
root = "{data}"
state = "{state}/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"{disabled}
]
[grpc]
  address = "{socket}"
"""
_KUBELETS = """[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  # Without CAP_SYS_RESOURCE nobody may go below the score that it was started with, as kubelet asks for its sandboxes.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"""
PAUSE_IMAGE = "localhost/pause:1"
CNI_PLUGINS = Path("/usr/lib/cni")


class Containerd:
    """containerd with its socket and log in the folder `state`, and its images and containers in `data`."""

    def __init__(self, state: Path, data: Path) -> None:
        self.state = state
        self.socket = state / "containerd.sock"
        self._data = data
        self._daemons = Daemons(state)

    def start(self, inside: Sequence[str] = (), networks: Path | None = None) -> None:
        """Starts it. `inside`: a command that enters its network; `networks`: CNI's folder, if kubelet is to use it.

        Raises DaemonError or AssertionError.
        """
        disabled = "" if networks else ', "io.containerd.grpc.v1.cri"'
        config = _CONFIG.format(data=self._data, state=self.state, socket=self.socket, disabled=disabled)
        if networks:
            config += _KUBELETS.format(pause=PAUSE_IMAGE, plugins=CNI_PLUGINS, networks=networks)
        path = self.state / "containerd.toml"
        path.write_text(config)
        self._daemons.start("containerd", [*inside, "containerd", "--config", path])
        eventually(self._answers, seconds=60)

    def load(self, archive: Path) -> None:
        """Imports the images of an archive. Raises CalledProcessError."""
        self._ctr("images", "import", str(archive), seconds=300)

    def has(self, image: str) -> bool:
        """Whether it knows an image by this name."""
        return image in self._ctr("images", "ls", "-q").split()

    def tag(self, image: str, other: str) -> None:
        """Gives an image another name."""
        self._ctr("images", "tag", "--force", image, other)

    def kill(self, container: str) -> None:
        """SIGKILL for a container's first process."""
        self._ctr("tasks", "kill", "--signal=SIGKILL", container)

    def stop(self) -> None:
        """Ends its containers without grace, then containerd; also after a start that failed."""
        # Containers outlive it, so they go first.
        errors = (subprocess.CalledProcessError, subprocess.TimeoutExpired)  # it was killed, perhaps
        if self.socket.exists():
            with suppress(*errors):
                for task in self._ctr("tasks", "ls", "-q").split():
                    with suppress(*errors):
                        self._ctr("tasks", "rm", "--force", task)
        self._daemons.stop("containerd")
        self._kill_shims()

    def _answers(self) -> None:
        self._daemons.check("containerd")
        try:
            self._ctr("version")
        except subprocess.CalledProcessError as e:
            raise AssertionError(f"{self.socket} does not answer: {e.stderr}") from e

    def _ctr(self, *arguments: str, seconds: float = 20) -> str:
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout

    def _kill_shims(self) -> None:
        """Each container's parent is a shim, a process that neither containerd nor we are a parent of."""
        address = f"-address\0{self.socket}\0".encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended
                if address in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)

"""The replicas' processes: started before anything heavy is imported, so that the model loads meanwhile.

Nothing but the standard library is imported on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from vajra.gateway.runtime_folder import CONTROL_SOCKET, RuntimeFolder


class ReplicaProcess:
    """One running `python -m vajra.replica`. It dies with this process: it reads the other end of a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.address = address  # for gRPC: unix:/path
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def on_exit(self, callback: Callable[[int], None]) -> None:
        """Calls `callback` with the exit status, once, from a thread of its own."""
        threading.Thread(target=lambda: callback(self._process.wait()), name=f"wait-{self.pid}", daemon=True).start()

    def terminate(self) -> None:
        """SIGTERM: drain and go."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()


class ReplicaLauncher:
    """Starts replicas of one deployment, with sockets in a private folder; `close` removes the folder."""

    def __init__(self, manifest: dict[str, Any], num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self._folder = RuntimeFolder()
        self.control_address = f"unix:{self._folder.path}/{CONTROL_SOCKET}"  # for the gateway's control.v1
        self.spec_file = self._folder.path / "deployment.json"
        self.rewrite(manifest)
        self._read_end, self._write_end = os.pipe()  # closes when this process ends, however it ends
        self._incarnation = 0
        self._first: dict[int, ReplicaProcess] = {}

    def rewrite(self, manifest: dict[str, Any]) -> None:
        """What replicas start with from now on."""
        part = self.spec_file.with_suffix(".part")
        part.write_text(json.dumps(manifest))
        part.replace(self.spec_file)

    def start_all(self) -> None:
        """Starts every replica; `launch` hands these out first."""
        self._first = {index: self._start(index) for index in range(self.num_replicas)}

    def launch(self, index: int) -> ReplicaProcess:
        """The process of replica `index`: the one started already, or a new one."""
        return self._first.pop(index, None) or self._start(index)

    def _start(self, index: int) -> ReplicaProcess:
        self._incarnation += 1
        address = f"unix:{self._folder.path}/replica-{index}-{self._incarnation}.sock"
        command = [sys.executable, "-m", "vajra.replica", "--spec-file", str(self.spec_file), "--listen", address]
        command += ["--replica-index", str(index), "--num-local-replicas", str(self.num_replicas)]
        command += ["--parent-fd", str(self._read_end)]
        # A session of its own keeps a terminal's Ctrl-C away: draining is ours to order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it logs to stderr
            pass_fds=(self._read_end, self._folder.lock_fd),  # the folder is in use while the replica lives
            start_new_session=True,
        )
        return ReplicaProcess(process, address)

    def close(self) -> None:
        """Kills what was never handed out and removes the folder. Idempotent."""
        for process in self._first.values():
            process.kill()
        for process in self._first.values():
            process.wait()
        self._first = {}
        for fd in (self._read_end, self._write_end):
            if fd >= 0:
                os.close(fd)
        self._read_end = self._write_end = -1
        self._folder.close()

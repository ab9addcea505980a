"""The operator as a process of its own, against an API server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import free_port
from tests.cluster.waiting import eventually

IMAGE = "vajra-replica:test"


@dataclass(frozen=True)
class OperatorProcess:
    """`python -m vajra.operator`, running."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def answer(self, path: str) -> tuple[int, str]:
        """What its HTTP server says: (status, text); (0, why) when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = self.answer("/metrics")[1]
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    @property
    def leads(self) -> bool:
        """Whether it reconciles."""
        return self.metric("leader_election_master_status") == 1

    def wait_until_leading(self) -> None:
        """Returns when it reconciles."""

        def check() -> None:
            assert self.alive, f"the operator ended with status {self.process.returncode}:\n{self.tail()}"
            assert self.leads, f"the operator does not lead:\n{self.tail()}"

        eventually(check)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])


@contextmanager
def running(kubeconfig: Path, namespace: str, folder: Path, *arguments: str) -> Iterator[OperatorProcess]:
    """An operator for one namespace, where its Lease is, too; killed in the end if it still runs."""
    port = free_port("")
    log = folder / f"operator-{port}.log"
    command = [sys.executable, "-m", "vajra.operator", "--replica-image", IMAGE, "--metrics-port", str(port)]
    command += ["--namespace", namespace, "--operator-namespace", namespace, *arguments]
    with log.open("wb") as out:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield OperatorProcess(process, port, log)
    finally:
        process.kill()
        process.wait()

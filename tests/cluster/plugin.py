"""`kubectl vajra` as a process, and what the operator does to replicas meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, ApiException, CoreV1Api
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import serving
from tests.cluster.waiting import eventually

from vajra.operator.kinds import LABEL
from vajra.operator.planning import names


@dataclass(frozen=True)
class Plugin:
    """It is run with kubectl's cluster and namespace."""

    kubectl: Kubectl

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """`kubectl vajra ARGUMENTS`."""
        return subprocess.run(
            self._command(*arguments),
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment(),
        )

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """What it prints, when it ends with this exit code."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if code in (0, 3) else done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
        """The same with `-o json`, read."""
        return json.loads(self(*arguments, "-o", "json", code=code, stdin=stdin))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """One that goes on printing."""
        return subprocess.Popen(self._command(*arguments), stdout=subprocess.PIPE, text=True, env=self._environment())

    def through_kubectl(self, folder: Path, *arguments: str) -> str:
        """What it prints when kubectl finds it: a program `kubectl-vajra` on PATH, here in `folder`."""
        program = folder / "kubectl-vajra"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vajra.cli.kubectl "$@"\n')
        program.chmod(0o755)
        environment = self._environment()
        environment["PATH"] = f"{folder}:{environment['PATH']}"
        command = [str(self.kubectl.program), "vajra", *arguments, *self._where()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment).stdout

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "vajra.cli.kubectl", *arguments, *self._where()]

    def _where(self) -> list[str]:
        return [f"--kubeconfig={self.kubectl.kubeconfig}", f"--namespace={self.kubectl.namespace}"]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.kubectl.program.parent}:{os.environ['PATH']}"}


Act = tuple[bool, int, str]  # whether a replica comes, its index, its revision


class Acts:
    """What happens to the leaders of `llama`, in the order in which the API server has it, from `mark` on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._marked = 0

    def all(self) -> list[Act]:
        text, acts = self._log.read_text(), []
        decoder, end = json.JSONDecoder(), 0
        while (begin := text.find("{", end)) >= 0:
            try:
                event, end = decoder.raw_decode(text, begin)
            except ValueError:  # its end is not written yet
                break
            labels = event["object"]["metadata"]["labels"]
            if event["type"] in ("ADDED", "DELETED"):
                acts.append((event["type"] == "ADDED", int(labels[names.REPLICA]), labels[names.REVISION]))
        return acts

    def mark(self) -> None:
        """What has happened so far is not of interest."""
        self._marked = len(self.all())

    def since(self) -> list[Act]:
        """What has happened since `mark`."""
        return self.all()[self._marked :]


@contextmanager
def acts_of(kubectl: Kubectl, folder: Path) -> Iterator[Acts]:
    """Follows the leaders."""
    log = folder / "acts"
    watch = ["--watch", "--output-watch-events", "-o", "json"]
    command = kubectl.command("get", "pods", "-l", names.leader_selector("llama"), *watch)
    with log.open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        try:
            yield Acts(log)
        finally:
            process.kill()


class Pods:
    """The pods of `llama`, where nobody runs them."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._core = CoreV1Api(client)
        self._namespace = namespace

    def serve_until(self, check: Callable[[], object]) -> None:
        """They come to serve as they are created, until `check` raises no AssertionError."""

        def step() -> None:
            for pod in self._core.list_namespaced_pod(self._namespace, label_selector=f"{LABEL}=llama").items:
                if not any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ()):
                    with suppress(ApiException):  # it has just gone
                        self._core.patch_namespaced_pod_status(pod.metadata.name, self._namespace, serving())
            check()

        eventually(step, seconds=90)

"""The cluster, by way of kubectl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vajra.cli.errors import CommandError
from vajra.cli.kubectl.faults import KubectlError, fault_of, not_found
from vajra.config.crd import GROUP, PLURAL
from vajra.operator.planning import names

RESOURCE: Final = f"{PLURAL}.{GROUP}"
_MANAGER: Final = "--field-manager=kubectl-vajra"


@dataclass(frozen=True)
class Cluster:
    """kubectl with the options that it was asked with; what is not given is as kubectl has it.

    Every method raises KubectlError, or another CommandError where there is no kubectl; the message says what to do.
    """

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    all_namespaces: bool = False

    def deployment(self, name: str) -> dict[str, Any]:
        """One VajraDeployment. Where there is none of this name, the error names those that there are."""
        try:
            return self.json("get", RESOURCE, name)
        except KubectlError as error:
            if error.reason != "NotFound":
                raise
        raise not_found(name, [each["metadata"]["name"] for each in self.deployments()], self.namespace)

    def deployments(self) -> list[dict[str, Any]]:
        """Those of the namespace, or of all."""
        return self._items("get", RESOURCE, *(["--all-namespaces"] if self.all_namespaces else []))

    def find(self, kinds: str, name: str, *options: str) -> list[dict[str, Any]]:
        """Objects of kinds (`pods,configmaps`) that belong to a VajraDeployment."""
        return self._items("get", kinds, "--selector", f"{names.DEPLOYMENT}={name}", *options)

    def items(self, kind: str, *options: str) -> list[dict[str, Any]]:
        """Objects of a kind, by kubectl's own options."""
        return self._items("get", kind, *options)

    def merge(self, name: str, patch: Mapping[str, Any], *options: str) -> dict[str, Any]:
        """The VajraDeployment after a JSON merge patch."""
        return self._patch("merge", name, patch, options)

    def edit(self, name: str, patch: Sequence[Mapping[str, Any]], *options: str) -> dict[str, Any]:
        """The VajraDeployment after a JSON patch: operations, of which all are carried out, or none."""
        return self._patch("json", name, patch, options)

    def raw(self, path: str, *options: str) -> str:
        """What the API server answers to a GET."""
        return self.run("get", "--raw", path, *options)

    def json(self, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
        """What a command of kubectl prints as JSON."""
        found: dict[str, Any] = json.loads(self.run(*arguments, "--output=json", stdin=stdin))
        return found

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command of kubectl prints."""
        command = self._command(arguments)
        try:
            done = subprocess.run(command, check=False, input=stdin, capture_output=True, text=True, encoding="utf-8")
        except FileNotFoundError:
            raise _no_kubectl() from None
        if done.returncode != 0:
            raise fault_of(done.stderr.strip() or done.stdout.strip(), self.namespace)
        print(done.stderr, end="", file=sys.stderr)  # its warnings
        return done.stdout

    def open(self, *arguments: str) -> subprocess.Popen[str]:
        """A command of kubectl that goes on printing; of its output a line can be read."""
        try:
            return subprocess.Popen(
                self._command(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
            )
        except FileNotFoundError:
            raise _no_kubectl() from None

    def _patch(self, kind: str, name: str, patch: object, options: Sequence[str]) -> dict[str, Any]:
        return self.json("patch", RESOURCE, name, f"--type={kind}", _MANAGER, "--patch", json.dumps(patch), *options)

    def _items(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json(*arguments)["items"]
        return found

    def _command(self, arguments: Sequence[str]) -> list[str]:
        given = {"namespace": self.namespace, "context": self.context, "kubeconfig": self.kubeconfig}
        options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return ["kubectl", *options, *arguments]


def _no_kubectl() -> CommandError:
    return CommandError(
        "kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/), or add its folder to PATH"
    )

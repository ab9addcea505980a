"""kubectl, with objects as plain dicts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]


class KubectlError(Exception):
    """kubectl has failed; the message is what it said. `code` is its exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str = "default"

    def within(self, namespace: str) -> Kubectl:
        """The same in another namespace."""
        return replace(self, namespace=namespace)

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """What `kubectl ARGUMENTS` prints. Raises KubectlError; subprocess.TimeoutExpired after `seconds`."""
        result = subprocess.run(
            self.command(*arguments), check=False, input=stdin, capture_output=True, text=True, timeout=seconds
        )
        if result.returncode != 0:
            raise KubectlError(result.stderr.strip() or result.stdout.strip(), result.returncode)
        return result.stdout

    def command(self, *arguments: str) -> list[str]:
        """The command line, for a caller that runs it otherwise."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments]

    def apply(self, *manifests: Manifest) -> None:
        """Applies objects; a field that the server does not know is an error."""
        self("apply", "--server-side", "--validate=strict", "-f", "-", stdin=_as_list(manifests))

    def create(self, *manifests: Manifest) -> None:
        """Creates objects, which must not exist."""
        self("create", "--validate=strict", "-f", "-", stdin=_as_list(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in the namespace that have the labels."""
        found: list[dict[str, Any]] = json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def delete(self, kind: str, name: str, *, wait: bool = True) -> None:
        """Deletes an object; with `wait` it is gone afterwards. That it is gone already is no error."""
        self("delete", kind, name, "--ignore-not-found", f"--wait={'true' if wait else 'false'}")

    def patch(self, kind: str, name: str, patch: Manifest, *, subresource: str | None = None) -> None:
        """A merge patch."""
        where = [f"--subresource={subresource}"] if subresource else []
        self("patch", kind, name, "--type=merge", *where, "-p", json.dumps(patch))

    def wait(self, condition: str, *names: str, seconds: float = 60) -> None:
        """`kubectl wait --for CONDITION`; names as `pod/a`. Raises KubectlError when the time is over."""
        self("wait", f"--for={condition}", f"--timeout={seconds:g}s", *names, seconds=seconds + 10)

    def execute(self, pod: str, *command: str, seconds: float = 60) -> str:
        """What a command prints inside a pod."""
        return self("exec", pod, "--", *command, seconds=seconds)


def _as_list(manifests: tuple[Manifest, ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})

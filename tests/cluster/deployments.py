"""VajraDeployments as the tests hand them to an API server, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from vajra.config import API_VERSION, KIND
from vajra.config.crd import GROUP, PLURAL, VERSION

MODEL = {"name": "meta-llama/Llama-2-7b-chat-hf"}
REFUSALS = (400, 403, 422)  # an unknown field, a policy's no, a broken rule


@dataclass(frozen=True)
class Fault:
    """One thing that the API server has against an object."""

    path: str
    reason: str
    message: str


class RefusedError(Exception):
    """The API server takes no such object."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["message"])
        self.faults: Sequence[Fault] = [
            Fault(cause.get("field", ""), cause.get("reason", ""), cause["message"])
            for cause in answer.get("details", {}).get("causes", [])
        ]


class Admission:
    """What the API server says to VajraDeployments. Unknown fields are refused, as `kubectl apply` has it."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._place = (GROUP, VERSION, namespace, PLURAL)

    def admitted(self, spec: Any, name: str = "llama") -> dict[str, Any]:
        """The object as it would be stored; nothing is. Raises RefusedError."""
        return self._call(self._objects.create_namespaced_custom_object, manifest(spec, name), dry_run="All")

    def refusal(self, spec: Any, name: str = "llama") -> RefusedError:
        """Why there can be no such object. Fails when there can."""
        try:
            self.admitted(spec, name)
        except RefusedError as refused:
            return refused
        raise AssertionError(f"admitted: {spec}")

    def _call(self, method: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = method(*self._place, *arguments, field_validation="Strict", **options)
        except client.ApiException as error:
            if error.status not in REFUSALS:
                raise
            raise RefusedError(json.loads(error.body)) from None
        return answer


class Deployments(Admission):
    """VajraDeployments that are kept in a namespace."""

    def created(self, spec: Any, name: str = "llama") -> dict[str, Any]:
        """The object as it is stored. Raises RefusedError."""
        return self._call(self._objects.create_namespaced_custom_object, manifest(spec, name))

    def patched(self, spec: Any, name: str = "llama") -> dict[str, Any]:
        """The object after a merge patch of its spec. Raises RefusedError."""
        return self._patch(self._objects.patch_namespaced_custom_object, name, {"spec": spec})

    def report(self, status: Any, name: str = "llama") -> dict[str, Any]:
        """The object after a merge patch of its status. Raises RefusedError."""
        return self._patch(self._objects.patch_namespaced_custom_object_status, name, {"status": status})

    def _patch(self, method: Any, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call(method, name, body, _content_type="application/merge-patch+json")


def manifest(spec: Any, name: str = "llama") -> dict[str, Any]:
    """A whole manifest."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def nested(path: str, value: Any) -> dict[str, Any]:
    """A spec that has nothing but `value` at `path`, as in spec.cache.blockSize."""
    for key in reversed(path.split(".")[1:]):
        value = {key: value}
    return dict(value)


def merged(*specs: dict[str, Any]) -> dict[str, Any]:
    """Specs in one, of two values the later."""
    into: dict[str, Any] = {}
    for spec in specs:
        for key, value in spec.items():
            both = isinstance(value, dict) and isinstance(into.get(key), dict)
            into[key] = merged(into[key], value) if both else value
    return into

"""Changes the live settings of a server that runs on this machine, over its control socket."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import yaml

from vajra.cli.errors import FAILED, USAGE, CommandError
from vajra.config import VajraDeployment, changed_fields
from vajra.config.table import rows
from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.gateway.runtime_folder import control_sockets

_SECONDS = 30.0


class Server:
    """A running server's control.v1."""

    def __init__(self, address: str) -> None:
        self.address = address
        channel = grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])
        self._stub = control_pb2_grpc.ReplicaControlServiceStub(channel)  # type: ignore[no-untyped-call]

    def status(self) -> control_pb2.GetStatusResponse:
        """Its account of itself. Raises CommandError when it does not answer."""
        try:
            answer: control_pb2.GetStatusResponse = self._stub.GetStatus(
                control_pb2.GetStatusRequest(), timeout=_SECONDS
            )
        except grpc.RpcError as error:
            raise CommandError(f"{self.address} does not answer: {error.details()}", FAILED) from None
        return answer

    def update(self, generation: int, spec: dict[str, Any], *, validate_only: bool) -> None:
        """Raises CommandError with the server's reason."""
        request = control_pb2.UpdateConfigRequest(
            generation=generation, spec_json=json.dumps(spec), validate_only=validate_only
        )
        try:
            self._stub.UpdateConfig(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            users = error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
            raise CommandError(f"nothing was changed: {error.details()}", USAGE if users else FAILED) from None


def find_server(control: str | None) -> Server:
    """The server at an address, or the only one of this user on this machine."""
    if control is not None:
        return Server(control if ":" in control else f"unix:{control}")
    found = [f"unix:{path}" for path in control_sockets()]
    if not found:
        raise CommandError("no server of yours runs on this machine: start one with `vajra serve`", FAILED)
    if len(found) > 1:
        raise CommandError(f"several servers run here: say which with --control {' or --control '.join(found)}", USAGE)
    return Server(found[0])


def deployment_of(status: control_pb2.GetStatusResponse) -> VajraDeployment:
    """What is in force."""
    return VajraDeployment.from_dict(json.loads(status.deployment_json))


def with_values(deployment: VajraDeployment, assignments: Sequence[str]) -> VajraDeployment:
    """The deployment with `path=value` set, paths below spec, values as in YAML. Raises CommandError or ConfigError."""
    manifest = deployment.to_dict()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise CommandError(f"{assignment!r} is not PATH=VALUE, as scheduler.type=DynamicChunk", USAGE)
        *sections, key = path.removeprefix("spec.").split(".")
        here = manifest["spec"]
        for section in sections:
            here = here.setdefault(section, {})
            if not isinstance(here, dict):
                raise CommandError(f"{path}: {section} is not a section", USAGE)
        value = yaml.safe_load(text)
        if key == "type" and here.get("type") != value:
            for member in _members(".".join(["spec", *sections])):
                here.pop(member, None)  # what belongs to the type before
        here[key] = value
    return VajraDeployment.from_dict(manifest)


def read_spec(deployment: VajraDeployment, manifest: Path) -> VajraDeployment:
    """The deployment with the spec of a manifest."""
    from vajra.cli.deployment import read_manifest

    return VajraDeployment(metadata=deployment.metadata, spec=read_manifest(manifest).spec)


def changes(before: VajraDeployment, after: VajraDeployment) -> list[dict[str, Any]]:
    """Each field that differs."""
    return [{"path": c.path, "old": c.old, "new": c.new} for c in changed_fields(before.spec, after.spec)]


def _members(section: str) -> list[str]:
    """The keys that belong to one type of a union."""
    return [row.field.key for row in rows() if row.path.rpartition(".")[0] == section and row.is_member]

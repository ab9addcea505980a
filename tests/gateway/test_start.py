"""A gateway that cannot start says why, and nothing else, however far its faces have come."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.models.checkpoints import make_served_checkpoint

from vajra.config import VajraDeployment
from vajra.gateway.control import ControlServer, GatewayControlService
from vajra.gateway.gateway import Gateway
from vajra.gateway.live_change import LocalChanges
from vajra.gateway.local_replicas import LocalReplicas
from vajra.gateway.replica_process import ReplicaLauncher
from vajra.gateway.server import run
from vajra.models import ModelError


class SlowFace:
    """Comes up after the tokenizer could have been found wanting."""

    async def start(self) -> None:
        await asyncio.sleep(0.5)

    async def stop(self, *, at_once: bool) -> None:
        pass


def test_a_damaged_tokenizer_is_told_also_when_the_faces_are_late(tmp_path: Path) -> None:
    folder = make_served_checkpoint(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    deployment = VajraDeployment.for_model(str(folder))
    launcher = ReplicaLauncher(deployment.to_dict(), 1)
    launcher.start_all()

    async def serve() -> int:
        gateway = Gateway(deployment, source=LocalReplicas(launcher, deployment.spec.recovery))
        service = GatewayControlService(gateway, LocalChanges(gateway), None)
        control = ControlServer(service, gateway, launcher.control_address)
        return await run(gateway, (SlowFace(), control), leave=gateway.drain, on_ready=lambda: None)

    with pytest.raises(ModelError, match="is no tokenizer"):
        asyncio.run(serve())

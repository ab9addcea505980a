"""Weights that give NaN: who asks for them is told so, and nobody else notices."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.models.checkpoints import make_checkpoint, poison_checkpoint
from tests.replica.harness import Replica, collect, manifest, read, request

from vajra.control.v1 import control_pb2

PROMPT = [1, 17, 33, 5, 250, 9]


def damaged(folder: Path, name: str, row: int) -> Path:
    """A checkpoint with one row of NaN in one tensor."""
    make_checkpoint(folder, "llama", hidden_size=128, intermediate_size=256, max_position_embeddings=8192)
    poison_checkpoint(folder, name, row)
    return folder


@pytest.mark.parametrize("native", [True, False])
async def test_a_poisoned_sequence_fails_alone(native: bool, tmp_path: Path) -> None:
    checkpoint = damaged(tmp_path / "model", "model.embed_tokens.weight", 99)
    async with Replica(manifest(checkpoint, native=native), tmp_path) as replica:
        worker = (await replica.status()).workers[0].pid
        alone, _ = await replica.generate(request("alone", PROMPT, 200))
        call = replica.run(request("sound", PROMPT, 200))
        begin = await read(call, 1)
        for i in range(5):
            with pytest.raises(grpc.aio.AioRpcError, match="logits for this sequence hold NaN or infinity") as error:
                await replica.generate(request(f"poisoned-{i}", [*PROMPT, 99], 20))
            assert error.value.code() == grpc.StatusCode.INTERNAL
        rest, _ = await collect(call)
        assert begin + rest == alone
        status = await replica.status()
        assert status.workers[0].pid == worker
        assert status.kv_blocks_used == 0


async def test_damaged_weights_are_not_served(tmp_path: Path) -> None:
    checkpoint = damaged(tmp_path / "model", "model.layers.0.mlp.up_proj.weight", 3)
    async with Replica(manifest(checkpoint), tmp_path, wait=False) as replica:
        while (status := await replica.status()).phase == control_pb2.REPLICA_PHASE_STARTING:
            pass
        assert status.phase == control_pb2.REPLICA_PHASE_FAILED
        assert "first step gave logits of NaN or infinity" in status.message
        assert not status.config_refused

"""KV memory: how much of it there is, and what happens when it runs out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.conftest import OPTIONS
from tests.engine.models import LLAMA, RandomWeights
from tests.replica.harness import Replica, manifest, request

from vajra.config import ModelConfig
from vajra.control.v1 import control_pb2
from vajra.engine import create_engine, kv_block_bytes
from vajra.models import resolve
from vajra.worker.memory import OutOfMemory, fixed_bytes, num_kv_blocks, weight_bytes

PROMPT = list(range(40))
CONTEXT, BLOCK_SIZE, BATCH_SIZE, CHUNK = 256, 16, 8, 64


def memory_for(checkpoint: Path, blocks: int) -> int:
    """Bytes of memory that leave `blocks` KV blocks, at a utilization of 0.8."""
    spec = resolve(ModelConfig(model=str(checkpoint), dtype="float32")).spec
    needed = fixed_bytes(spec, CHUNK, BATCH_SIZE) + blocks * kv_block_bytes(spec, BLOCK_SIZE)
    return int(needed / 0.8) + 1024


def small_context(checkpoint: Path) -> dict[str, object]:
    deployment = manifest(checkpoint)
    deployment["spec"]["model"]["maxModelLen"] = CONTEXT
    return deployment


async def test_preemption_changes_no_token(checkpoint: Path, tmp_path: Path) -> None:
    messages = [request(f"r{i}", PROMPT[i:], 150, seed=i) for i in range(6)]
    (tmp_path / "ample").mkdir()
    (tmp_path / "short").mkdir()
    async with Replica(small_context(checkpoint), tmp_path / "ample") as replica:
        undisturbed = await asyncio.gather(*(replica.generate(message) for message in messages))
        assert sum(finish.preemptions for _, finish in undisturbed) == 0
    memory = ("--memory-bytes", str(memory_for(checkpoint, 20)))
    async with Replica(small_context(checkpoint), tmp_path / "short", *memory) as replica:
        assert (await replica.status()).capacity.kv_blocks == 20
        preempted = await asyncio.gather(*(replica.generate(message) for message in messages))
        assert sum(finish.preemptions for _, finish in preempted) > 0
        assert (await replica.status()).kv_blocks_used == 0
    assert [tokens for tokens, _ in preempted] == [tokens for tokens, _ in undisturbed]


def test_too_little_memory_for_one_sequence_says_what_to_change(checkpoint: Path) -> None:
    spec = resolve(ModelConfig(model=str(checkpoint), dtype="float32")).spec

    def blocks(memory_bytes: int, num_local_replicas: int = 1) -> int:
        return num_kv_blocks(
            spec,
            memory_bytes=memory_bytes,
            utilization=0.8,
            num_local_replicas=num_local_replicas,
            block_bytes=kv_block_bytes(spec, BLOCK_SIZE),
            block_size=BLOCK_SIZE,
            max_model_len=CONTEXT,
            max_batch_size=BATCH_SIZE,
            max_batch_tokens=CHUNK,
        )

    assert blocks(memory_for(checkpoint, 16)) == 16
    assert blocks(memory_for(checkpoint, 16) * 2, num_local_replicas=2) == 16
    assert blocks(1 << 40) == BATCH_SIZE * CONTEXT // BLOCK_SIZE, "more than a full batch can use"
    with pytest.raises(OutOfMemory, match=r"KV blocks for 240 tokens\. Lower model\.maxModelLen"):
        blocks(memory_for(checkpoint, 15))


async def test_too_little_memory_is_refused_as_a_configuration(checkpoint: Path, tmp_path: Path) -> None:
    memory = str(memory_for(checkpoint, CONTEXT // BLOCK_SIZE - 1))
    async with Replica(small_context(checkpoint), tmp_path, "--memory-bytes", memory, wait=False) as replica:
        while (status := await replica.status()).phase == control_pb2.REPLICA_PHASE_STARTING:
            pass
        assert "one sequence of max_model_len = 256 tokens does not fit" in status.message
        assert status.config_refused


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize(
    ("dtype", "quantization"),
    [("float32", "none"), ("float16", "none"), ("bfloat16", "none"), ("bfloat16", "int8")],
)
def test_weights_take_what_was_planned(
    dtype: str, quantization: str, tie: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path))
    spec = replace(LLAMA, vocab_size=2048, hidden_size=256, intermediate_size=512, tie_embeddings=tie)
    spec = replace(spec, dtype=dtype, quantization=quantization)
    create_engine(spec, RandomWeights(spec), OPTIONS, cache_key="k").close()
    [packed] = (tmp_path / "packed").glob("*.bin")
    assert weight_bytes(spec) == pytest.approx(packed.stat().st_size, rel=0.01)  # without norms and the description

"""A request whose logits are NaN is told so; nothing else notices."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest
from tests.gateway.harness import MAX_MODEL_LEN, MODEL, Server, manifest
from tests.models.checkpoints import make_checkpoint, poison_checkpoint


def test_a_poisoned_request_fails_alone(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", "llama", max_position_embeddings=MAX_MODEL_LEN)
    poison_checkpoint(checkpoint, "model.embed_tokens.weight", ord("c"))
    with (
        Server(manifest(checkpoint)) as server,
        openai.OpenAI(base_url=f"{server.http}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        for _ in range(3):
            with pytest.raises(openai.InternalServerError, match="logits for this sequence hold NaN or infinity"):
                client.completions.create(model=MODEL, prompt="abc", max_tokens=4)
            assert client.completions.create(model=MODEL, prompt="ab", max_tokens=4, seed=1).choices

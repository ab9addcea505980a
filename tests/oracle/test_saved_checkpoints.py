"""What transformers saves, vajra.models reads to the same meaning: spec, rope and logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.oracle.checkpoints import CHECKPOINTS, random_checkpoint
from tests.oracle.driver import Driver, options

from vajra.config import ModelConfig
from vajra.engine import create_engine
from vajra.models import load


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_saved_checkpoint_is_served_as_transformers_runs_it(name: str, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(name)
    checkpoint.model.save_pretrained(tmp_path)
    model = load(ModelConfig(model=str(tmp_path), dtype="float32", max_model_len=512))
    assert model.max_model_len == 512

    got, want = model.spec, checkpoint.spec
    assert got.rope.inv_freq == pytest.approx(want.rope.inv_freq, rel=1e-6)
    assert got.rope.attention_factor == pytest.approx(want.rope.attention_factor)
    # What no forward pass sees is left out; linear scaling stretches the length that the config states.
    unseen = {f: getattr(want, f) for f in ("rope", "max_model_len", "eos_token_ids", "bos_token_id")}
    assert dataclasses.replace(got, **unseen) == want

    tokens = [int(t) for t in np.random.default_rng(1).integers(0, want.vocab_size, 400)]
    logits = checkpoint.logits(tokens)
    engine = create_engine(model.spec, model.weights, options())
    assert np.abs(Driver(engine, options()).teacher_force(tokens) - logits).max() <= 1e-4 * np.abs(logits).max()
    engine.close()

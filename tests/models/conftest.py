"""Fixtures of the model tests."""

from __future__ import annotations

import pytest

import vajra.models as models
from vajra.config import ModelConfig


@pytest.fixture(scope="session")
def smollm2() -> models.ResolvedModel:
    """The embedded model, fetched once per machine."""
    return models.resolve(ModelConfig(model=models.DEFAULT_MODEL, dtype="auto"))


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2: models.ResolvedModel) -> models.Tokenizer:
    return models.load_tokenizer(smollm2)

"""One small random checkpoint for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.checkpoints import make_served_checkpoint


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Packed weights of test models stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAJRA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 4 layers: a step takes about a millisecond, so that tests can act in the middle of a stream."""
    return make_served_checkpoint(tmp_path_factory.mktemp("checkpoint"))

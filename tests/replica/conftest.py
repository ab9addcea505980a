"""One small random checkpoint for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.checkpoints import make_served_checkpoint


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all of them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def cache(cache_folder: Path) -> Iterator[None]:
    """Packed weights of test models stay out of the user's cache. Tests of other folders may come in between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAJRA_CACHE", str(cache_folder))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 4 layers: a step takes about a millisecond, so that tests can act in the middle of a stream."""
    return make_served_checkpoint(tmp_path_factory.mktemp("checkpoint"))

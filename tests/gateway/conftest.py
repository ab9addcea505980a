"""A small random checkpoint, and one server over it for the tests that do not disturb it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.harness import Server, manifest
from tests.models.checkpoints import make_served_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose step takes about a millisecond, with a byte-level tokenizer: an id below 256 is a byte."""
    return make_served_checkpoint(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def server(checkpoint: Path) -> Iterator[Server]:
    """A server with one replica and room for few, in a process of its own."""
    with Server(manifest(checkpoint)) as running:
        yield running

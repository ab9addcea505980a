"""Engines of tiny models, on every kernel family that this machine can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.engine.models import LLAMA, RandomWeights

from vajra.engine import Engine, EngineOptions, _native, create_engine
from vajra.models.spec import ModelSpec

FAMILIES = ("scalar", "avx2", "avx512", "avx512fma", "amx")
HOST_FAMILIES = FAMILIES[: FAMILIES.index(_native.ops.host_isa()) + 1]
OPTIONS = EngineOptions(
    num_blocks=512, block_size=16, max_model_len=4096, max_batch_size=64, max_batch_tokens=2048, num_threads=2
)

MakeEngine = Callable[..., Engine]


@pytest.fixture(params=HOST_FAMILIES)
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Engines made by this test use this kernel family."""
    name = str(request.param)
    monkeypatch.setenv("VAJRA_ISA", name)
    return name


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """make_engine(spec, **options) -> Engine; closed when the test ends."""
    engines: list[Engine] = []

    def make(spec: ModelSpec = LLAMA, **changes: object) -> Engine:
        engine = create_engine(spec, RandomWeights(spec), replace(OPTIONS, **changes))  # type: ignore[arg-type]
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()

"""What the op tests share: kernel families, dtypes and float arrays in their storage types."""

from __future__ import annotations

import pytest
from tests.ops.support import ISAS


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    """Every kernel family that this processor supports, and AMX's loops over emulated tile instructions."""
    return str(request.param)


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    """A model's dtype: of weights and KV."""
    return str(request.param)

"""RMSNorm and SwiGLU against numpy, and their independence of batch and threads."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ops.support import from_storage, ops, random, rounded, same_bits


@pytest.mark.parametrize("out", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 16, 37, 64, 576, 601])
def test_rmsnorm(isa: str, out: str, n: int) -> None:
    x, weight = random(1, 11, n) * 3, random(2, n)
    y = ops.Ops(isa, 2).rmsnorm(x, weight, 1e-5, out)
    want = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5) * weight
    assert np.allclose(from_storage(y, out), want, rtol=8e-3 if out == "bfloat16" else 1e-6, atol=1e-6)


def test_rmsnorm_of_chosen_rows_in_any_batch(isa: str) -> None:
    x, weight = random(1, 40, 100), random(2, 100)
    whole = ops.Ops(isa, 1).rmsnorm(x, weight, 1e-5, "bfloat16")
    rows = np.array([39, 0, 7, 7], np.int32)
    assert same_bits(ops.Ops(isa, 3).rmsnorm(x, weight, 1e-5, "bfloat16", rows), whole[rows])
    assert same_bits(ops.Ops(isa, 3).rmsnorm(x[5:6], weight, 1e-5, "bfloat16"), whole[5:6])


@pytest.mark.parametrize("out", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 37, 1536, 2050])
def test_silu_mul(isa: str, out: str, n: int) -> None:
    x = random(1, 5, 2 * n) * 5
    y = ops.Ops(isa, 2).silu_mul(x, out)
    gate, up = np.split(x.astype(np.float64), 2, axis=1)
    want = gate / (1 + np.exp(-gate)) * up
    assert np.allclose(from_storage(y, out), want, rtol=8e-3 if out == "bfloat16" else 2e-6, atol=1e-6)
    assert same_bits(ops.Ops(isa, 1).silu_mul(x[2:3], out), y[2:3])


def test_silu_at_the_ends(isa: str) -> None:
    gate = np.array([[-1e30, -200.0, -88.5, 0.0, 88.5, 1e30, np.nan, -np.inf]], np.float32)
    y = ops.Ops(isa, 1).silu_mul(np.concatenate([gate, np.ones_like(gate)], axis=1), "float32")[0]
    assert np.abs(y[:2]).max() <= 1e-7
    assert y[3] == 0
    assert y[4] == np.float32(88.5)
    assert y[5] == np.float32(1e30)
    assert np.isnan(y[6])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_is_to_nearest_even(isa: str, dtype: str) -> None:
    x = np.concatenate([random(1, 1000), random(2, 1000) * 1e-3, np.array([1 + 2**-8, 1 + 3 * 2**-8, 65519.0])])
    x = x.astype(np.float32)[None]
    if dtype == "bfloat16":  # as an op's output
        ones = np.ones(x.shape[1], np.float32)
        scale = 1 / np.sqrt((x.astype(np.float64) ** 2).mean())
        y = from_storage(ops.Ops(isa, 1).rmsnorm(x, ones, 0.0, dtype), dtype)
        assert np.allclose(y, rounded((x * scale).astype(np.float32), dtype), rtol=1e-2)
    packed = ops.Matrix(dtype, 1, x.shape[1])
    packed.pack_rows(0, x, "float32")
    ids = np.zeros(1, np.int32)
    assert same_bits(ops.Ops(isa, 1).embedding(packed, ids), rounded(x, dtype))

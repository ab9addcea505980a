"""GEMM over packed weights: values against numpy, and bits that depend on nothing but a row and the weight."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ops.support import (
    HOST_FAMILIES,
    act_dtype,
    check_rows_bits,
    from_storage,
    ops,
    pack,
    random,
    rounded,
    same_bits,
    to_storage,
)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (3, 17, 5), (7, 40, 33), (13, 63, 128), (30, 200, 575)])
def test_values(isa: str, dtype: str, m: int, n: int, k: int) -> None:
    a, w, bias, c = random(1, m, k), random(2, n, k), random(3, n), random(4, m, n)
    act = act_dtype(dtype)
    kernels, packed, rows = ops.Ops(isa, 2), pack(w, dtype), to_storage(a, act)
    exact = rounded(a, act).astype(np.float64) @ rounded(w, dtype).astype(np.float64).T
    tolerance = 2e-6 * np.sqrt(k) * 4
    assert np.abs(kernels.gemm(rows, packed) - exact).max() <= tolerance
    assert np.abs(kernels.gemm(rows, packed, bias) - (exact + bias)).max() <= tolerance
    assert np.abs(kernels.gemm(rows, packed, bias, c.copy()) - (exact + bias + c)).max() <= tolerance


@pytest.mark.parametrize(("n", "k"), [(192, 96), (50, 131)])
def test_a_rows_bits_depend_on_the_row_alone(isa: str, dtype: str, n: int, k: int) -> None:
    m = 400  # more than a row block
    rows, packed = to_storage(random(1, m, k), act_dtype(dtype)), pack(random(2, n, k), dtype)
    check_rows_bits(isa, rows, packed)


def test_accumulate_and_bias_round_once(isa: str, dtype: str) -> None:
    rows, packed = to_storage(random(1, 9, 70), act_dtype(dtype)), pack(random(2, 45, 70), dtype)
    bias, c = random(3, 45), random(4, 9, 45)
    kernels = ops.Ops(isa, 2)
    plain = kernels.gemm(rows, packed)
    assert same_bits(kernels.gemm(rows, packed, bias), plain + bias)
    assert same_bits(kernels.gemm(rows, packed, bias, c.copy()), c + (plain + bias))


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_packing_converts_and_takes_rows_in_any_order(dtype: str, source: str) -> None:
    w = to_storage(random(1, 45, 37), source)
    whole = ops.Matrix(dtype, 45, 37)
    whole.bits[:] = 0xFFFF  # padding must be written too
    for row0, row1 in [(20, 45), (0, 3), (3, 20)]:
        whole.pack_rows(row0, w[row0:row1], source)
    v = 2 if dtype == "bfloat16" else 1
    padded = np.zeros((48, -(-37 // v) * v), np.float32 if dtype == "float32" else np.uint16)
    padded[:45, :37] = to_storage(from_storage(w, source), dtype)
    expected = padded.reshape(3, 16, -1, v).transpose(0, 2, 1, 3)
    assert same_bits(whole.bits.view(padded.dtype), expected.reshape(-1))


def test_embedding(isa: str, dtype: str) -> None:
    table = random(1, 45, 37)
    ids = np.array([0, 44, 17, 17, 3], np.int32)
    assert same_bits(ops.Ops(isa, 2).embedding(pack(table, dtype), ids), rounded(table, dtype)[ids])


@pytest.mark.skipif("avx512fma" not in HOST_FAMILIES, reason="this processor has no AVX-512 BF16")
@pytest.mark.parametrize(("m", "n", "k"), [(1, 16, 576), (7, 63, 131), (200, 130, 64)])
def test_multiply_adds_of_pairs_are_the_same_sums_at_any_width(m: int, n: int, k: int) -> None:
    rows, packed = to_storage(random(1, m, k), "bfloat16"), pack(random(2, n, k), "bfloat16")
    assert same_bits(ops.Ops("avx512fma", 2).gemm(rows, packed), ops.Ops("avx2", 2).gemm(rows, packed))

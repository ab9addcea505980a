"""GEMM and embedding over int8 weights: values against numpy, and bits that depend on a row and the weight alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.support import Floats, check_rows_bits, from_storage, ops, pack, random, rounded, same_bits, to_storage

GROUP = 32
Quantised = tuple[npt.NDArray[np.int8], Floats]  # q [n, k]; scales [n, groups]


def quantise(w: Floats) -> Quantised:
    """What packing does, in numpy: w[n, k] ~ q * scale of its group."""
    n, k = w.shape
    padded = np.zeros((n, -(-k // GROUP) * GROUP), np.float32)
    padded[:, :k] = w
    groups = padded.reshape(n, -1, GROUP)
    scales = (np.abs(groups).max(-1) / np.float32(127)).astype(np.float32)
    divisors = np.where(scales == 0, np.float32(1), scales)[..., None]
    q = np.rint(np.clip(groups / divisors, -127, 127)) * (scales[..., None] != 0)
    return q.reshape(n, -1)[:, :k].astype(np.int8), scales


def dequantise(w: Floats) -> Floats:
    q, scales = quantise(w)
    return q.astype(np.float32) * np.repeat(scales, GROUP, axis=1)[:, : w.shape[1]]


def read(matrix: ops.Matrix, n: int, k: int) -> Quantised:
    """What the packed form says, with its padding checked."""
    panels, groups = -(-n // 16), -(-k // GROUP)
    raw = matrix.bits.view(np.uint8).reshape(panels, groups, 64 + 16 * GROUP)
    scales = np.ascontiguousarray(raw[:, :, :64]).view(np.float32).transpose(0, 2, 1).reshape(panels * 16, groups)
    fours = np.ascontiguousarray(raw[:, :, 64:]).view(np.int8).reshape(panels, groups, GROUP // 4, 4, 2, 4, 2)
    q = fours.transpose(0, 3, 5, 1, 2, 4, 6).reshape(panels * 16, groups * GROUP)  # column quads, two steps, pairs
    assert not q[n:].any()
    assert not q[:, k:].any()
    assert not scales[n:].any()
    return q[:n, :k], scales[:n]


@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16"])
def test_packing_quantises_rows_in_any_order(source: str) -> None:
    n, k = 45, 77
    w = to_storage(random(1, n, k), source)
    matrix = ops.Matrix("int8", n, k)
    matrix.bits[:] = 0xFFFF  # padding must be written too
    for row0, row1 in [(20, 45), (0, 3), (3, 20)]:
        matrix.pack_rows(row0, w[row0:row1], source)
    q, scales = read(matrix, n, k)
    want_q, want_scales = quantise(from_storage(w, source))
    assert same_bits(scales, want_scales)
    assert np.array_equal(q, want_q)


@settings(max_examples=50)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=70))
def test_no_value_is_further_off_than_half_a_step(values: list[float]) -> None:
    w = np.array([values], np.float32)
    matrix = ops.Matrix("int8", *w.shape)
    matrix.pack_rows(0, w, "float32")
    q, scales = read(matrix, *w.shape)
    steps = np.repeat(scales, GROUP, axis=1)[:, : w.shape[1]].astype(np.float64)
    # Half a step, the scale's own rounding (up to a subnormal unit) times 127, and the quotient's.
    assert (np.abs(q * steps - w) <= 0.50001 * steps + 127 * 2.0**-149).all()


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_a_damaged_weight_shows(isa: str, damage: float) -> None:
    w = random(1, 20, 64)
    w[7, 40] = damage
    out = ops.Ops(isa).gemm(to_storage(random(2, 3, 64), "bfloat16"), pack(w, "int8"))
    assert np.isnan(out[:, 7]).all()
    assert np.isfinite(np.delete(out, 7, axis=1)).all()


@pytest.mark.parametrize(
    ("m", "n", "k"), [(1, 1, 1), (3, 17, 5), (7, 40, 33), (13, 63, 128), (6, 64, 66), (30, 200, 575)]
)
def test_values(isa: str, m: int, n: int, k: int) -> None:
    a, w, bias, c = random(1, m, k), random(2, n, k), random(3, n), random(4, m, n)
    kernels, packed, rows = ops.Ops(isa, 2), pack(w, "int8"), to_storage(a, "bfloat16")
    q, scales = quantise(w)
    groups = range(scales.shape[1])
    x, wide = rounded(a, "bfloat16").astype(np.float64), q.astype(np.float64)
    exact = sum(
        (x[:, g * GROUP : (g + 1) * GROUP] @ wide[:, g * GROUP : (g + 1) * GROUP].T) * scales[:, g] for g in groups
    )
    tolerance = 2e-6 * np.sqrt(k) * 4
    assert np.abs(kernels.gemm(rows, packed) - exact).max() <= tolerance
    assert np.abs(kernels.gemm(rows, packed, bias) - (exact + bias)).max() <= tolerance
    assert np.abs(kernels.gemm(rows, packed, bias, c.copy()) - (exact + bias + c)).max() <= tolerance


def test_groups_are_summed_apart_and_scaled_in_order(isa: str) -> None:
    """The exact order, where every group's sum is exact: total = fma(sum, scale, total)."""
    n, k = 20, 5 * GROUP
    rng = np.random.default_rng(1)
    a, w = rng.integers(-3, 4, (3, k)).astype(np.float32), random(2, n, k)
    q, scales = quantise(w)
    total = np.zeros((3, n), np.float32)
    for g in range(5):
        ks = slice(g * GROUP, (g + 1) * GROUP)
        sums = (a[:, ks] @ q[:, ks].T.astype(np.float32)).astype(np.float64)
        if isa in ("scalar", "amx-emulated"):  # no fused multiply-add
            total = total + (sums.astype(np.float32) * scales[:, g])
        else:
            total = (sums * scales[:, g] + total).astype(np.float32)
    assert same_bits(ops.Ops(isa).gemm(to_storage(a, "bfloat16"), pack(w, "int8")), total)


@pytest.mark.parametrize(("n", "k"), [(192, 288), (50, 131)])
def test_a_rows_bits_depend_on_the_row_alone(isa: str, n: int, k: int) -> None:
    m = 400  # more than a row block
    rows, packed = to_storage(random(1, m, k), "bfloat16"), pack(random(2, n, k), "int8")
    check_rows_bits(isa, rows, packed)


def test_accumulate_and_bias_round_once(isa: str) -> None:
    bias, c = random(3, 45), random(4, 9, 45)
    rows, packed = to_storage(random(1, 9, 70), "bfloat16"), pack(random(2, 45, 70), "int8")
    kernels = ops.Ops(isa, 2)
    plain = kernels.gemm(rows, packed)
    assert same_bits(kernels.gemm(rows, packed, bias), plain + bias)
    assert same_bits(kernels.gemm(rows, packed, bias, c.copy()), c + (plain + bias))


def test_embedding(isa: str) -> None:
    table = random(1, 45, 77)
    ids = np.array([0, 44, 17, 17, 3], np.int32)
    assert same_bits(ops.Ops(isa, 2).embedding(pack(table, "int8"), ids), dequantise(table)[ids])

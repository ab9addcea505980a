"""Tile instructions: TDPBF16PS against exact rational arithmetic, the processor's against the emulated one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.support import Floats, from_storage, ops, random, same_bits, to_storage

Bits = npt.NDArray[np.uint16]

LEAST_NORMAL = Fraction(1, 2**126)


def rounded(exact: Fraction, zero: float) -> float:
    """exact as a float32: to nearest, ties to even, subnormal results as zeros of their sign; `zero` if it is 0."""
    if exact == 0:
        return zero
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (exponent - 23)
    value = round(exact / unit) * unit  # Python rounds halves to even
    sign = -1.0 if exact < 0 else 1.0
    if abs(value) < LEAST_NORMAL:
        return sign * 0.0
    return sign * math.inf if abs(value) >= 2**128 else float(value)


def normal(x: float) -> float:
    """x, or a zero of its sign where it is subnormal."""
    return math.copysign(0.0, x) if abs(x) < LEAST_NORMAL else x


def add(x: float, y: float) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return x + y
    return rounded(Fraction(x) + Fraction(y), x + y)  # Python's sum of zeros and of opposites has the right sign


def multiply_add(x: float, y: float, z: float) -> float:
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        return x * y + z
    product = Fraction(x) * Fraction(y)
    return rounded(product + Fraction(z), 0.0 if product else x * y + z)


def model(a: Floats, b: Floats, c: Floats) -> Floats:
    """c[m, 16] + a[m, 32] b[16, 16, 2], in the order of the instruction's pseudo-code."""
    out = np.empty_like(c)
    for m, n in np.ndindex(c.shape):
        temp = [0.0, 0.0]
        for k in range(16):
            for i in range(2):
                temp[i] = multiply_add(normal(float(a[m, 2 * k + i])), normal(float(b[k, n, i])), temp[i])
        out[m, n] = add(normal(float(c[m, n])), add(temp[0], temp[1]))
    return out


def same(x: Floats, y: Floats) -> bool:
    """Whether two arrays hold the same bits, but for those of NaN."""
    nan = np.isnan(x)
    return bool(np.array_equal(nan, np.isnan(y))) and same_bits(np.where(nan, 0, x), np.where(nan, 0, y))


def bits(values: Floats) -> Bits:
    return np.asarray(to_storage(values, "bfloat16"), np.uint16)


def floats(values: Bits) -> Floats:
    return from_storage(values, "bfloat16")


def emulated(a: Bits, b: Bits, c: Floats) -> Floats:
    return ops.tile_dot("amx-emulated", a, b, c)


# Zeros, ones, halfway cases, the ends of the normal and subnormal ranges, infinity and NaN.
PATTERNS = [0x0000, 0x0001, 0x007F, 0x0080, 0x0081, 0x1F80, 0x2000, 0x2001, 0x3380, 0x33FF, 0x3F80, 0x3F81, 0x3FFF]
PATTERNS += [0x4B80, 0x5F80, 0x7F00, 0x7F7F]
SPECIAL = [0x7F80, 0x7FC0]
FINITE = st.sampled_from(PATTERNS + [p | 0x8000 for p in PATTERNS])
ANY = st.one_of(FINITE, st.integers(0, 0xFFFF))
SUMS = [0x0, 0x1, 0x7FFFFF, 0x800000, 0x800001, 0xFFFFFF, 0x1000000, 0x3F800000, 0x3F800001, 0x7F7FFFFF, 0x7F800000]


@st.composite
def operands(draw: st.DrawFn) -> tuple[Bits, Bits, Floats]:
    """A row of A, of which a few elements are not zero, one column of B in all 16, and C."""
    element = draw(st.sampled_from([FINITE, ANY]))
    a, b = np.zeros((1, 32), np.uint16), np.zeros((16, 16, 2), np.uint16)
    for k in draw(st.lists(st.integers(0, 31), max_size=8)):
        a[0, k] = draw(element)
        b[k // 2, :, k % 2] = np.array(draw(st.lists(element, min_size=16, max_size=16)), np.uint16)
    signs = draw(st.lists(st.booleans(), min_size=16, max_size=16))
    sums = draw(st.lists(st.sampled_from(SUMS), min_size=16, max_size=16))
    c = np.array([[s | (0x80000000 if n else 0) for s, n in zip(sums, signs, strict=True)]], np.uint32)
    return a, b.reshape(16, 32), c.view(np.float32)


@settings(max_examples=100)
@given(operands())
def test_the_emulated_instruction_at_the_ends_of_the_range(x: tuple[Bits, Bits, Floats]) -> None:
    a, b, c = x
    with np.errstate(all="ignore"):
        assert same(emulated(a, b, c), model(floats(a), floats(b).reshape(16, 16, 2), c))


@pytest.mark.parametrize("exponents", [1, 20])
def test_the_emulated_instruction_on_any_values(exponents: int) -> None:
    def values(seed: int, *shape: int) -> Floats:
        scale = np.random.default_rng(seed).integers(-exponents, exponents, shape)
        return np.ldexp(random(seed, *shape), scale).astype(np.float32)

    a, b, c = bits(values(1, 3, 32)), bits(values(2, 16, 32)), values(3, 3, 16)
    assert same(emulated(a, b, c), model(floats(a), floats(b).reshape(16, 16, 2), c))


def test_special_values_by_name() -> None:
    def one(products: list[tuple[float, float]], c: float) -> float:
        a, b = np.zeros((1, 32), np.float32), np.zeros((16, 16, 2), np.float32)
        for i, (x, y) in enumerate(products):
            a[0, i], b[i // 2, 0, i % 2] = x, y
        return float(emulated(bits(a), bits(b.reshape(16, 32)), np.full((1, 16), c, np.float32))[0, 0])

    assert math.isnan(one([(math.inf, 0.0)], 1.0))
    assert math.isnan(one([(math.inf, 1.0), (math.inf, -1.0)], 0.0))
    assert one([(math.inf, 2.0)], 1.0) == math.inf
    assert one([(2.0**-130, 2.0**100)], 0.0) == 0.0  # a subnormal operand
    assert math.copysign(1.0, one([(-(2.0**-70), 2.0**-70)], 0.0)) == 1.0  # -0 + (+0), flushed before the sum
    assert one([], -(2.0**-140)) == 0.0  # a subnormal sum
    assert math.copysign(1.0, one([(-1.0, 0.0), (1.0, -0.0)], -0.0)) == 1.0  # temporaries start at +0
    # Even and odd elements are summed apart, then added, then joined to C: 2^24 + 1 rounds to 2^24 in each step.
    assert one([(2.0**12, 2.0**12), (1.0, 1.0), (0.0, 0.0), (1.0, 1.0)], 0.0) == 2.0**24 + 2
    assert one([(1.0, 1.0), (1.0, 1.0)], 2.0**24) == 2.0**24 + 2
    assert one([(1.0, 1.0)], 2.0**24) == 2.0**24


def test_a_product_is_a_chain_of_instructions_from_zero() -> None:
    """A row of a GEMM: groups of 32 k from k = 0, the last one filled up with zeros."""
    k = 75
    a, w = bits(random(1, 3, k)), bits(random(2, 16, k))
    padded_a, padded_w = np.zeros((3, 96), np.uint16), np.zeros((16, 96), np.uint16)
    padded_a[:, :k], padded_w[:, :k] = a, w
    expected = np.zeros((3, 16), np.float32)
    for k0 in range(0, 96, 32):
        group = padded_w[:, k0 : k0 + 32].reshape(16, 16, 2).transpose(1, 0, 2).reshape(16, 32)
        expected = emulated(np.ascontiguousarray(padded_a[:, k0 : k0 + 32]), np.ascontiguousarray(group), expected)
    packed = ops.Matrix("bfloat16", 16, k)
    packed.pack_rows(0, w, "bfloat16")
    assert same_bits(ops.Ops("amx-emulated").gemm(a, packed), expected)


def test_no_thread_keeps_its_tiles_beyond_an_op() -> None:
    packed = ops.Matrix("bfloat16", 640, 32)
    packed.pack_rows(0, random(1, 640, 32), "float32")
    for threads in [1, 3]:
        kernels = ops.Ops("amx-emulated", threads)
        for m in [1, 40]:
            kernels.gemm(bits(random(2, m, 32)), packed)
            assert ops.emulated_tiles_in_use() == 0


@pytest.mark.skipif(ops.host_isa() != "amx", reason="this processor or system has no AMX: nothing to compare with")
def test_the_processor_computes_what_is_emulated() -> None:
    rng = np.random.default_rng(1)
    edges = np.array(PATTERNS + SPECIAL + [p | 0x8000 for p in PATTERNS], np.uint16)
    for rows in [1, 2, 7, 16]:
        for i in range(200):
            a, b = (rng.integers(0, 1 << 16, shape).astype(np.uint16) for shape in [(rows, 32), (16, 32)])
            if i % 3 == 1:  # ordinary values
                a, b = bits(random(i, *a.shape)), bits(random(i + 1, *b.shape))
            if i % 3 == 2:
                a, b = rng.choice(edges, a.shape), rng.choice(edges, b.shape)
            c = rng.integers(0, 1 << 32, (rows, 16)).astype(np.uint32).view(np.float32)
            assert same(ops.tile_dot("amx", a, b, c), emulated(a, b, c)), (rows, i)


@pytest.mark.skipif(ops.host_isa() != "amx", reason="this processor or system has no AMX: nothing to compare with")
@pytest.mark.parametrize(("m", "n", "k"), [(1, 40, 64), (16, 64, 75), (33, 100, 131), (70, 16, 32)])
def test_products_on_the_processor_are_those_emulated(m: int, n: int, k: int) -> None:
    packed = ops.Matrix("bfloat16", n, k)
    packed.pack_rows(0, random(1, n, k), "float32")
    rows = bits(random(2, m, k))
    assert same_bits(ops.Ops("amx", 2).gemm(rows, packed), ops.Ops("amx-emulated", 2).gemm(rows, packed))

"""Curves and surfaces: through their points, never falling, straight beyond."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.prediction.tables import Curve, Surface, SurfacePoint, knot, surface_of

SECONDS = st.floats(0, 10, allow_subnormal=False)


@st.composite
def counts(draw: st.DrawFn, most: int = 300) -> list[int]:
    return sorted(draw(st.sets(st.integers(1, most), min_size=1, max_size=8)))


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    at = draw(counts())
    return Curve(at, [draw(SECONDS) for _ in at])


@st.composite
def surfaces(draw: st.DrawFn) -> Surface:
    at, knots = draw(counts()), draw(st.integers(2, 6))
    return Surface(at, [[draw(SECONDS) for _ in range(knots)] for _ in at])


@given(curves(), st.integers(0, 2000), st.integers(0, 2000))
def test_a_curve_never_falls_and_is_finite(curve: Curve, a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert 0 <= curve(low) <= curve(high) + 1e-9
    assert math.isfinite(curve(10**9))
    assert curve(0) == 0


@given(
    surfaces(),
    st.tuples(st.integers(0, 2000), st.integers(0, 2000)),
    st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)),
)
def test_a_surface_never_falls_along_either_axis(surface: Surface, xs: tuple[int, int], ys: tuple[int, int]) -> None:
    (x0, x1), (y0, y1) = sorted(xs), sorted(ys)
    slack = 1e-9 + 1e-9 * surface(x1, y1)
    assert surface(x0, y0) + slack >= 0
    assert surface(x0, y0) <= surface(x1, y0) + slack
    assert surface(x0, y0) <= surface(x0, y1) + slack
    assert surface(x0, y1) <= surface(x1, y1) + slack
    assert math.isfinite(surface(10**6, 10**9))


@given(counts(), st.floats(1e-6, 1), st.floats(0, 1e-3))
def test_a_curve_of_straight_points_is_that_line(at: list[int], first: float, slope: float) -> None:
    curve = Curve(at, [first + slope * n for n in at])
    for n in range(at[0], at[-1] + 1):
        assert curve(n) == pytest.approx(first + slope * n)
    if len(at) > 1:
        assert curve(at[-1] + 1000) == pytest.approx(first + slope * (at[-1] + 1000))


def test_a_surface_of_a_bilinear_function_is_that_function() -> None:
    def seconds(x: int, y: int) -> float:
        return 1e-3 + 2e-5 * x + 3e-9 * x * y

    points = [SurfacePoint(x, y, seconds(x, y)) for x in (1, 16, 64) for y in (0, 300, 5000)]
    surface = surface_of(points)
    for x in (1, 2, 17, 63, 64, 200):
        for y in (0, 1, 127, 128, 129, 4000, 100_000):
            assert surface(x, y) == pytest.approx(seconds(x, y), rel=1e-6), (x, y)


def test_knots_double() -> None:
    assert [knot(k) for k in range(5)] == [0, 128, 256, 512, 1024]


@pytest.mark.parametrize("at", [[], [0, 1], [2, 2], [3, 1]])
def test_points_that_do_not_rise_are_refused(at: list[int]) -> None:
    with pytest.raises(ValueError, match="must rise strictly"):
        Curve(at, [1.0] * len(at))

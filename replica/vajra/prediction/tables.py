"""Tables of seconds: measured at a few points, looked up at every integer, straight beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_KNOT_BITS = 7  # the first knot of a surface's second axis is at 128
_MAX_KNOT = 21  # the last knot that a measured surface may have: 128 << 20


def rising(values: Sequence[float]) -> list[float]:
    """The running maximum."""
    out: list[float] = []
    top = 0.0
    for value in values:
        top = max(top, value)
        out.append(top)
    return out


def line(at: Sequence[float], values: Sequence[float], x: float) -> float:
    """The piecewise straight line through the points, at x; beyond the ends as in the last piece, and never below 0."""
    if len(at) == 1:
        return max(0.0, values[0] if at[0] == 0 else values[0] * x / at[0])
    i = 1
    while i < len(at) - 1 and x > at[i]:
        i += 1
    slope = (values[i] - values[i - 1]) / (at[i] - at[i - 1])
    return max(0.0, values[i - 1] + slope * (x - at[i - 1]))


class Curve:
    """Seconds over a count: 0 at 0, never falling, straight beyond the last point.

    `values` has an entry for every count up to the last point; `slope` is per count beyond.
    """

    __slots__ = ("at", "last", "seconds", "slope", "values")

    def __init__(self, at: Sequence[int], seconds: Sequence[float]) -> None:
        """`at` rises and starts above 0. Values that fall are lifted to the ones before."""
        _check("at", at, 1)
        _check_lengths("seconds", at, seconds)
        self.at, self.seconds = list(at), rising(seconds)
        self.values = [0.0, *_expand(self.at, self.seconds)]
        self.last = self.at[-1]
        self.slope = _end_slope(self.at, self.seconds)

    def __call__(self, count: int) -> float:
        """Seconds for `count`."""
        if count <= self.last:
            return self.values[count]
        return self.values[-1] + self.slope * (count - self.last)

    def scaled(self, factor: float) -> Curve:
        """With all seconds multiplied."""
        return Curve(self.at, [factor * s for s in self.seconds])


class Surface:
    """Seconds over a count x and an amount y: 0 at x = 0, never falling in either, straight beyond both ends.

    Along x there is an entry for every integer up to the last point; along y pieces between the knots 0, 128, 256, 512,
    … (`knots` many), so that a look-up needs no search.
    """

    __slots__ = ("at", "knots", "last", "pieces", "seconds")

    def __init__(self, at: Sequence[int], seconds: Sequence[Sequence[float]]) -> None:
        """`seconds[i][k]` is for x = at[i] and y = knot(k); all rows have the same number of knots, at least 2."""
        _check("at", at, 1)
        _check_lengths("seconds", at, seconds)
        knots = len(seconds[0])
        if knots < 2 or any(len(row) != knots for row in seconds):
            raise ValueError("seconds must have rows of the same length, at least 2: one value for each knot")
        self.at, self.knots, self.last = list(at), knots, at[-1]
        columns = _monotone([list(row) for row in seconds])
        self.seconds = [list(row) for row in zip(*columns, strict=True)]
        expanded = [[0.0, *_expand(self.at, column)] for column in columns]
        # For the piece above knot k: (value at y = 0 of the line that the piece lies on, slope), for every x.
        self.pieces: list[tuple[list[float], list[float]]] = []
        for k in range(knots - 1):
            y0, width = knot(k), knot(k + 1) - knot(k)
            slopes = [(b - a) / width for a, b in zip(expanded[k], expanded[k + 1], strict=True)]
            bases = [a - slope * y0 for a, slope in zip(expanded[k], slopes, strict=True)]
            self.pieces.append((bases, slopes))

    def __call__(self, x: int, y: int) -> float:
        """Seconds for x of y."""
        piece = (y >> _KNOT_BITS).bit_length()
        bases, slopes = self.pieces[piece] if piece < self.knots - 1 else self.pieces[-1]
        if x <= self.last:
            return bases[x] + slopes[x] * y
        end = bases[-1] + slopes[-1] * y
        before = self._before_last()
        return end + (end - (bases[before] + slopes[before] * y)) / (self.last - before) * (x - self.last)

    def _before_last(self) -> int:
        return self.at[-2] if len(self.at) > 1 else 0

    def scaled(self, factor: float) -> Surface:
        """With all seconds multiplied."""
        return Surface(self.at, [[factor * s for s in row] for row in self.seconds])


def knot(k: int) -> int:
    """The second axis's knots: 0, 128, 256, 512, …"""
    return 0 if k == 0 else 1 << (_KNOT_BITS + k - 1)


def knots_for(largest: int) -> int:
    """How many knots reach at least `largest`, within bounds."""
    k = 2
    while knot(k - 1) < largest and k < _MAX_KNOT:
        k += 1
    return k


@dataclass(frozen=True)
class SurfacePoint:
    """One measurement of a surface."""

    x: int
    y: int
    seconds: float


def surface_of(points: Sequence[SurfacePoint]) -> Surface:
    """The surface through measured points: for each x a piecewise straight line over its own y, then over knots.

    An x with one point only gets the slope of the nearest x that has more, in proportion to x.
    """
    if not points:
        raise ValueError("no points: a surface needs at least one")
    rows: dict[int, dict[int, float]] = {}
    for point in points:
        rows.setdefault(point.x, {})[point.y] = point.seconds
    count = knots_for(max(p.y for p in points))
    at = sorted(rows)
    sloped = [x for x in at if len(rows[x]) > 1]
    seconds = []
    for x in at:
        ys = sorted(rows[x])
        values = rising([rows[x][y] for y in ys])
        if len(ys) == 1 and sloped:
            near = min(sloped, key=lambda other: abs(other - x))
            low, high = min(rows[near]), max(rows[near])
            slope = max(0.0, (rows[near][high] - rows[near][low]) / (high - low)) * x / near
            ys, values = [ys[0], ys[0] + high], [values[0], values[0] + slope * high]
        seconds.append([line(ys, values, knot(k)) for k in range(count)])
    return Surface(at, seconds)


def _check(name: str, at: Sequence[int], first: int) -> None:
    if not at or at[0] < first or any(b <= a for a, b in pairwise(at)):
        raise ValueError(f"{name} is {list(at)}; it must rise strictly and start at {first} or above")


def _check_lengths(name: str, at: Sequence[int], values: Sequence[object]) -> None:
    if len(values) != len(at):
        raise ValueError(f"{name} has {len(values)} values for {len(at)} points; there must be one for each")


def _expand(at: Sequence[int], values: Sequence[float]) -> list[float]:
    """Values for 1 … at[-1]; below the first point constant, since what takes time at all takes it for one, too."""
    out = [values[0]] * at[0]
    for i in range(1, len(at)):
        width, low, high = at[i] - at[i - 1], values[i - 1], values[i]
        step = (high - low) / width
        out += [low + step * j for j in range(1, width)]
        out.append(high)
    return out


def _end_slope(at: Sequence[int], values: Sequence[float]) -> float:
    if len(at) == 1:
        return values[0] / at[0]
    return (values[-1] - values[-2]) / (at[-1] - at[-2])


def _monotone(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Columns, one for each knot, of values that fall along neither axis, inside the table or beyond it.

    Beyond an end the last piece goes on straight, so lines must not cross there: the last piece along y rises no slower
    for a larger x, and the last piece along x no slower for a larger y.
    """
    columns: list[list[float]] = []
    for k, column in enumerate(zip(*rows, strict=True)):
        raised = rising(column)
        if k > 0:
            before = columns[-1]
            rises = [max(0.0, a - b) for a, b in zip(raised, before, strict=True)]
            if k == len(rows[0]) - 1:
                rises = rising(rises)
            elif len(rises) > 1:
                rises[-1] = max(rises[-1], rises[-2])
            raised = rising([b + r for b, r in zip(before, rises, strict=True)])
        columns.append(raised)
    return columns

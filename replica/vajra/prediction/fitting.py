"""From measurements to a profile: tables of single operators first, then weighed on whole steps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from vajra.prediction.measurements import Measurements, Step, StepShape
from vajra.prediction.profile import FitErrors, Identity, Profile, ProfileError, Tables
from vajra.prediction.tables import Curve, SurfacePoint, line, rising, surface_of

_BEFORE_ATTENTION = ("input_layernorm", "attn_pre_proj", "attn_rope")
_AFTER_ATTENTION = ("attn_post_proj", "post_attention_layernorm", "mlp_up_proj", "mlp_act", "mlp_down_proj")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_TOKEN_KNOTS = (1, 8, 32, 128, 512)
_LOWEST, _HIGHEST = 0.3, 3.0  # of a factor
_SPREAD = 0.1  # of factors about the common one
BAD_FIT = 0.1  # a median error above it is noted
MIN_STEPS = 12  # fewer whole steps weigh nothing


def fit(
    identity: Identity,
    data: Measurements,
    *,
    model: str = "",
    preset: str = "",
    measured: str = "",
    seconds: float = 0.0,
    last_layer_rows_only: bool = True,
    notes: Sequence[str] = (),
) -> Profile:
    """A profile. Whole steps, where there are enough, weigh the operators' tables; else these stand as measured.

    `last_layer_rows_only`: as in our engine, the last layer computes only sampling rows beyond its KV. Raises
    ProfileError when an operator was not measured.
    """
    notes = list(notes)
    if not data.prefill or not data.decode:
        data = with_estimated_attention(identity, data)
        notes.append("attention was not measured: it is estimated from the rates of the products")
    tables = operator_tables(identity, data, last_layer_rows_only=last_layer_rows_only)
    errors = None
    if len(data.steps) >= MIN_STEPS:
        tables = weighed(tables, data.steps)
        errors = fit_errors(tables, data.steps)
        if errors.median > BAD_FIT:
            notes.append(
                f"predictions are {100 * errors.median:.0f}% off the measured steps (median), more than "
                f"{100 * BAD_FIT:.0f}%: measure anew when no other process keeps this machine busy"
            )
    else:
        notes.append("no whole steps were measured: what a step takes beside its operators is not in it")
    return Profile(
        identity=identity,
        tables=tables,
        model=model,
        preset=preset,
        measured=measured,
        seconds=seconds,
        errors=errors,
        notes=tuple(notes),
        data=data.digest(),
    )


def operator_tables(identity: Identity, data: Measurements, *, last_layer_rows_only: bool = True) -> Tables:
    """Tables of one pipeline stage from operators measured alone."""
    missing = [op for op in (*_BEFORE_ATTENTION, *_AFTER_ATTENTION) if op not in data.tokens]
    if missing:
        raise ProfileError(f"mlp.csv has no times of {', '.join(missing)}. Measure anew with `vajra profile MODEL`")
    layers, rest = divmod(identity.num_layers, identity.pipeline_parallel)
    if rest:
        raise ProfileError(
            f"{identity.num_layers} layers cannot be cut into {identity.pipeline_parallel} equal pipeline stages"
        )
    before, after = _sum(data.tokens, _BEFORE_ATTENTION), _sum(data.tokens, (*_AFTER_ATTENTION, "add"))
    # With pipeline stages every stage but the last computes whole layers; the slowest counts.
    whole = layers - 1 if last_layer_rows_only and identity.pipeline_parallel == 1 else layers
    at = sorted(before)
    token_bytes = identity.hidden_size * _BYTES.get(identity.dtype, 2)
    tokens = [
        layers * before[n]
        + whole * after[n]
        + _at(data.embedding, n)
        + 2 * layers * _at(data.all_reduce, n * token_bytes)
        + (_at(data.send_recv, n * token_bytes) if identity.pipeline_parallel > 1 else 0.0)
        for n in at
    ]
    row_at = sorted({*data.head, *(n for n in at if data.head and n <= max(data.head))}) or at
    rows = [(layers - whole) * _at(after, n) + _at(data.head, n) for n in row_at]
    decode = surface_of([SurfacePoint(c, c * each, layers * s) for (c, each), s in sorted(data.decode.items())])
    prefill = surface_of([SurfacePoint(q, kv, whole * s) for (q, kv), s in sorted(data.prefill.items())])
    return Tables(tokens=Curve(at, tokens), rows=Curve(row_at, rows), decode=decode, prefill=prefill)


def with_estimated_attention(identity: Identity, data: Measurements) -> Measurements:
    """With attention from the rates that the products reach: half their FLOP/s for chunks, their bytes/s for decodes.

    For profiles that came without attention.csv.
    """
    after = _sum(data.tokens, _AFTER_ATTENTION)
    weights = (
        identity.hidden_size * identity.head_dim * identity.num_heads
        + 3 * identity.hidden_size * identity.intermediate_size
    ) // identity.tensor_parallel
    size, most = _BYTES.get(identity.dtype, 2), max(after)
    flops = 2 * weights * most / after[most]
    bytes_per_second = weights * size / after[min(after)]
    heads = max(1, identity.num_heads // identity.tensor_parallel)
    kv_heads = max(1, identity.num_kv_heads // identity.tensor_parallel)
    prefill = {
        (q, kv): 4 * heads * identity.head_dim * q * (kv + (q + 1) / 2) / (flops / 2)
        for q in (1, 16, 128, 1024, 4096)
        for kv in (0, 1024, 8192, 65536)
    }
    decode = {
        (c, kv): c * kv * 2 * kv_heads * identity.head_dim * size / bytes_per_second
        for c in (1, 16, 128)
        for kv in (16, 1024, 8192)
    }
    return Measurements(
        data.tokens, prefill, decode, data.embedding, data.head, data.all_reduce, data.send_recv, data.steps
    )


def parts(tables: Tables, shape: StepShape) -> list[float]:
    """Seconds of a step's parts by the tables: tokens, rows, decode, prefill."""
    return [
        tables.tokens(shape.num_tokens),
        tables.rows(shape.num_rows),
        tables.decode(shape.decodes, shape.decode_context),
        sum(tables.prefill(c.num_query, c.context) for c in shape.chunks),
    ]


def predicted(tables: Tables, shape: StepShape) -> float:
    """Seconds of a stage for a step's batch."""
    return sum(parts(tables, shape)) + tables.constant


def weighed(tables: Tables, steps: Sequence[Step]) -> Tables:
    """Tables times the factors that bring predictions nearest to whole steps.

    The tokens' table has a factor at each of some token counts and blends between them, since an operator alone starts
    anew each time and within a step does not; every other table has one. Least squares of relative errors within
    bounds, with a pull to the factor that all tables have in common, by which the machine was slower during the steps
    than during the operators. The more the steps scatter, the stronger it is: ridge regression, whose pull is the ratio
    of the errors' variance to the factors'. Errors are relative to the predictions: relative to the measured times,
    those of slow steps would look small, and factors come out low by the errors' variance. Steps that fit badly count
    less, those six times worse than the median nothing: what the machine disturbed does not draw the others.
    """
    knots = [n for n in _TOKEN_KNOTS if n <= max(s.shape.num_tokens for s in steps)]
    rows = []
    for step in steps:
        tokens, *others = parts(tables, step.shape)
        rows.append([*(tokens * share for share in _blend(knots, step.shape.num_tokens)), *others])
    times = [step.seconds for step in steps]
    common = statistics.median(t / sum(row) for t, row in zip(times, rows, strict=True))
    common = max(_LOWEST, min(_HIGHEST, common))
    factors = [common] * len(rows[0])
    for _ in range(15):
        guesses = [sum(f * v for f, v in zip(factors, row, strict=True)) for row in rows]
        errors = [abs(t / guess - 1) for t, guess in zip(times, guesses, strict=True)]
        middle = max(1e-5, statistics.median(errors))
        weights = [
            (max(0.0, 1 - (e / (6 * middle)) ** 2) / guess) ** 2 for e, guess in zip(errors, guesses, strict=True)
        ]
        pull = (1.48 * middle / _SPREAD) ** 2  # 1.48: a normal standard deviation over the median of its errors
        factors = _bounded_least_squares(rows, times, weights, factors, pull, common)
    of_tokens, (of_rows, of_decode, of_prefill) = factors[: len(knots)], factors[len(knots) :]
    at = sorted({*tables.tokens.at, *(n for n in knots if n <= tables.tokens.last)})
    curve = [tables.tokens(n) * sum(f * b for f, b in zip(of_tokens, _blend(knots, n), strict=True)) for n in at]
    return Tables(
        tokens=Curve(at, curve),
        rows=tables.rows.scaled(of_rows),
        decode=tables.decode.scaled(of_decode),
        prefill=tables.prefill.scaled(of_prefill),
        constant=tables.constant,
    )


def _blend(knots: Sequence[int], count: int) -> list[float]:
    """How much each knot's factor counts at a token count: straight in its logarithm, 1 in sum."""
    shares = [0.0] * len(knots)
    i = 0
    while i < len(knots) and knots[i] <= count:
        i += 1
    if i in (0, len(knots)):
        shares[max(0, i - 1)] = 1.0
    else:
        shares[i] = math.log(count / knots[i - 1]) / math.log(knots[i] / knots[i - 1])
        shares[i - 1] = 1 - shares[i]
    return shares


def fit_errors(tables: Tables, steps: Sequence[Step]) -> FitErrors:
    """How far the tables are from steps."""
    errors = sorted(abs(predicted(tables, s.shape) / s.seconds - 1) for s in steps)
    return FitErrors(
        steps=len(errors),
        median=errors[len(errors) // 2],
        p95=errors[min(len(errors) - 1, int(0.95 * len(errors)))],
        worst=errors[-1],
    )


def _bounded_least_squares(
    rows: Sequence[Sequence[float]],
    values: Sequence[float],
    weights: Sequence[float],
    start: Sequence[float],
    pull: float,
    to: float,
) -> list[float]:
    """Factors x within bounds with sum(w (row · x - value)²) + pull |x - to|² least: each in turn, until all rest."""
    n = len(start)
    gram = [[sum(w * r[i] * r[j] for w, r in zip(weights, rows, strict=True)) for j in range(n)] for i in range(n)]
    right = [sum(w * v * r[i] for w, v, r in zip(weights, values, rows, strict=True)) for i in range(n)]
    x = list(start)
    for _ in range(1000):
        moved = 0.0
        for i in range(n):
            others = sum(gram[i][j] * x[j] for j in range(n) if j != i)
            best = (right[i] - others + pull * to) / (gram[i][i] + pull)
            best = max(_LOWEST, min(_HIGHEST, best))
            moved = max(moved, abs(best - x[i]))
            x[i] = best
        if moved < 1e-6:
            break
    return x


def _sum(tokens: Mapping[str, Mapping[int, float]], ops: Sequence[str]) -> dict[int, float]:
    """Of operators, at the token counts that the first was measured at; each never falls."""
    at = sorted(tokens[ops[0]])
    total = [0.0] * len(at)
    for op in ops:
        if op in tokens:
            for i, value in enumerate(rising([_at(tokens[op], n) for n in at])):
                total[i] += value
    return dict(zip(at, total, strict=True))


def _at(points: Mapping[int, float], x: float) -> float:
    """The straight pieces through measured points, at x; 0 where nothing was measured."""
    if not points:
        return 0.0
    at = sorted(points)
    if x <= at[0]:
        return points[at[0]]
    return line(at, [points[a] for a in at], x)

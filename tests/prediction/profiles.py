"""Profiles made from formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vajra.prediction import Curve, Identity, Profile, Tables
from vajra.prediction.tables import SurfacePoint, surface_of

IDENTITY = Identity(
    num_layers=4,
    hidden_size=64,
    intermediate_size=128,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    vocab_size=256,
    dtype="bfloat16",
    processor="A processor",
    kernels="avx512",
    threads=2,
    block_size=16,
)


def tables() -> Tables:
    """1 ms and 20 µs a token, attention in proportion."""
    at = (1, 8, 64, 512)
    decode = [SurfacePoint(n, n * c, 1e-5 * n + 1e-8 * n * c) for n in (1, 8, 64) for c in (16, 1024, 8192)]
    prefill = [SurfacePoint(q, c, 2e-6 * q + 1e-9 * q * (c + q / 2)) for q in (1, 16, 64, 512) for c in (0, 512, 8192)]
    return Tables(
        tokens=Curve(at, [1e-3 + 2e-5 * n for n in at]),
        rows=Curve((1, 64), [5e-4, 1e-3]),
        decode=surface_of(decode),
        prefill=surface_of(prefill),
        constant=2e-4,
    )


def profile(**identity: Any) -> Profile:
    return Profile(identity=replace(IDENTITY, **identity), tables=tables(), model="tiny", data="0")

"""Head norms, rotation and the write of keys and values into pages."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ops.support import Floats, Pages, act_dtype, from_storage, ops, random, same_bits, to_storage

HEADS, KV_HEADS, EPS = 4, 2, 1e-5


def cos_sin(d: int, positions: int) -> Floats:
    """The table [positions, d]: cosines, then sines."""
    angles = np.arange(positions)[:, None] * 10000.0 ** -(np.arange(0, d, 2) / d)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def rotated(x: Floats, norm: Floats | None, table: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Heads [tokens, heads, d] normed and rotated, in float64; table holds each token's row."""
    y = x.astype(np.float64)
    if norm is not None:
        y = y / np.sqrt((y**2).mean(-1, keepdims=True) + EPS) * norm
    half = x.shape[-1] // 2
    cos, sin = table[:, None, :half].astype(np.float64), table[:, None, half:].astype(np.float64)
    return np.concatenate([y[..., :half] * cos - y[..., half:] * sin, y[..., half:] * cos + y[..., :half] * sin], -1)


@pytest.mark.parametrize("block_size", [8, 16, 64])
@pytest.mark.parametrize("d", [16, 64, 80])
@pytest.mark.parametrize("norms", [False, True])
def test_values_and_pages(isa: str, dtype: str, d: int, block_size: int, norms: bool) -> None:
    table = cos_sin(d, 256)
    steps = [(5, 5), (1, 90), (33, 40)]  # (num_query, ctx_len)
    pages = Pages(dtype, 40, KV_HEADS, d, block_size)
    slices = [(nq, ctx, pages.take(ctx)) for nq, ctx in steps]
    rows = sum(nq for nq, _ in steps)
    qkv = random(1, rows, (HEADS + 2 * KV_HEADS) * d)
    q_norm, k_norm = (random(2, d), random(3, d)) if norms else (None, None)
    sequences = ops.Sequences(slices, pages.pool)
    q = ops.Ops(isa, 2).rope_kv(qkv, HEADS, pages.pool, table, sequences, q_norm, k_norm, EPS)

    heads = qkv.reshape(rows, -1, d)
    positions = np.concatenate([np.arange(ctx - nq, ctx) for nq, ctx in steps])
    tolerance = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
    want_q = rotated(heads[:, :HEADS], q_norm, table[positions])
    assert np.abs(from_storage(q, act_dtype(dtype)) - want_q).max() <= tolerance[act_dtype(dtype)]
    row = 0
    for nq, ctx, blocks in slices:
        k, v = (x[ctx - nq :] for x in pages.read(blocks, ctx))
        keys, values = np.split(heads[row : row + nq, HEADS:], 2, axis=1)
        want_k = rotated(keys, k_norm, table[ctx - nq : ctx])
        assert np.abs(from_storage(k, dtype) - want_k).max() <= tolerance[dtype]
        assert same_bits(v, to_storage(values, dtype))
        row += nq


def test_bits_do_not_depend_on_chunks(isa: str, dtype: str) -> None:
    d, tokens = 64, 50
    table, qkv, norm = cos_sin(d, tokens), random(1, tokens, (HEADS + 2 * KV_HEADS) * d), random(2, d)
    results = []
    for chunk in (tokens, 1, 7):
        pages = Pages(dtype, 4, KV_HEADS, d, 16)
        pages.poison()
        blocks, q = pages.take(tokens), []
        for start in range(0, tokens, chunk):
            end = min(start + chunk, tokens)
            sequences = ops.Sequences([(end - start, end, blocks)], pages.pool)
            q.append(ops.Ops(isa, 3).rope_kv(qkv[start:end], HEADS, pages.pool, table, sequences, norm, norm, EPS))
        results.append((np.concatenate(q), *pages.read(blocks, tokens)))
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_last_pair_of_values_holds_nothing_of_a_stranger(isa: str) -> None:
    pages = Pages("bfloat16", 2, KV_HEADS, 16, 16)
    pages.poison()
    blocks = pages.take(5)
    qkv = random(1, 5, (HEADS + 2 * KV_HEADS) * 16)
    ops.Ops(isa, 1).rope_kv(qkv, HEADS, pages.pool, cos_sin(16, 5), ops.Sequences([(5, 5, blocks)], pages.pool))
    assert not pages.v[blocks[0], :, 2, :, 1].any()

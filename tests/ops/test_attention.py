"""Paged attention against torch's, and bits that depend on nothing but a query and the tokens it sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.ops.support import (
    Array,
    Floats,
    Pages,
    SequenceData,
    act_dtype,
    from_storage,
    ops,
    random,
    rounded,
    same_bits,
    to_storage,
)

BLOCK_SIZES = [8, 16, 32, 64, 128]


def sequence(seed: int, num_query: int, ctx_len: int, heads: int, kv_heads: int, d: int, dtype: str) -> SequenceData:
    """Random queries, keys and values in the dtypes of a model."""
    return SequenceData(
        q=rounded(random(seed, num_query, heads, d), act_dtype(dtype)),
        k=rounded(random(seed + 1000, ctx_len, kv_heads, d), dtype),
        v=rounded(random(seed + 2000, ctx_len, kv_heads, d), dtype),
    )


def expected(s: SequenceData) -> tuple[Floats, Floats]:
    """Output [num_query, heads, d] and log-sum-exp [num_query, heads] by torch, in float64."""
    q, k, v = (torch.from_numpy(x).double().transpose(0, 1) for x in (s.q, s.k, s.v))
    group = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    positions = torch.arange(s.ctx_len - len(s.q), s.ctx_len)
    mask = torch.arange(s.ctx_len)[None, :] <= positions[:, None]
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5
    lse = scores.masked_fill(~mask, -torch.inf).logsumexp(-1)
    return out.transpose(0, 1).numpy().astype(np.float32), lse.T.numpy().astype(np.float32)


def attend(
    isa: str, dtype: str, batch: Sequence[SequenceData], block_size: int = 16, threads: int = 2, seed: int = 0
) -> list[tuple[Array, Floats]]:
    """Outputs and log-sum-exps per sequence of one op call, with every page that nobody owns full of NaN."""
    _, heads, d = batch[0].q.shape
    kv_heads = batch[0].k.shape[1]
    blocks = sum(-(-s.ctx_len // block_size) for s in batch) + 3
    pages = Pages(dtype, blocks, kv_heads, d, block_size, seed)
    pages.poison()
    slices = []
    for s in batch:
        table = pages.take(s.ctx_len)
        pages.write(table, s.k, s.v)
        slices.append((len(s.q), s.ctx_len, table))
    q = to_storage(np.concatenate([s.q for s in batch]), act_dtype(dtype))
    kernels = ops.Ops(isa, threads)
    out, lse = kernels.attention(q, pages.pool, ops.Sequences(slices, pages.pool), d**-0.5)
    assert q.shape[1] == heads
    cuts = np.cumsum([len(s.q) for s in batch])[:-1]
    return list(zip(np.split(out, cuts), np.split(lse, cuts), strict=True))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "d"), [(3, 1, 64), (4, 4, 80), (8, 2, 128), (2, 1, 16), (5, 1, 256), (64, 1, 32)]
)
def test_values_of_a_mixed_batch(isa: str, dtype: str, heads: int, kv_heads: int, d: int) -> None:
    shapes = [(1, 1), (1, 200), (37, 37), (20, 150), (1, 129), (40, 260)]
    batch = [sequence(i, nq, ctx, heads, kv_heads, d, dtype) for i, (nq, ctx) in enumerate(shapes)]
    tolerance = 2e-2 if dtype == "bfloat16" else 2e-5
    for s, (out, lse) in zip(batch, attend(isa, dtype, batch), strict=True):
        want_out, want_lse = expected(s)
        assert np.abs(from_storage(out, act_dtype(dtype)) - want_out).max() <= tolerance
        assert np.abs(lse - want_lse).max() <= 1e-4


def test_large_scores_do_not_overflow(isa: str, dtype: str) -> None:
    s = sequence(1, 2, 300, 2, 1, 64, dtype)
    s = SequenceData(q=s.q * 64, k=s.k * 16, v=s.v)
    ((out, lse),) = attend(isa, dtype, [s])
    want_out, want_lse = expected(s)
    assert np.abs(from_storage(out, act_dtype(dtype)) - want_out).max() <= 2e-2
    assert np.allclose(lse, want_lse, rtol=1e-5)


def test_bits_do_not_depend_on_pages_threads_or_mates(isa: str, dtype: str) -> None:
    heads, kv_heads, d = 6, 2, 64
    batch = [
        sequence(i, nq, ctx, heads, kv_heads, d, dtype) for i, (nq, ctx) in enumerate([(1, 700), (70, 391), (9, 9)])
    ]
    alone = [attend(isa, dtype, [s], threads=1)[0] for s in batch]
    for block_size in BLOCK_SIZES:
        for threads, seed in [(1, 1), (3, 2)]:
            for (out, lse), (out1, lse1) in zip(
                attend(isa, dtype, batch, block_size, threads, seed), alone, strict=True
            ):
                assert same_bits(out, out1), (block_size, threads)
                assert same_bits(lse, lse1)


@pytest.mark.parametrize("block_size", [8, 16, 128])
def test_bits_do_not_depend_on_chunks(isa: str, dtype: str, block_size: int) -> None:
    tokens = 300
    s = sequence(1, tokens, tokens, 3, 1, 64, dtype)
    ((whole, _),) = attend(isa, dtype, [s], block_size)
    for chunk in [1, 7, 64, 128, 299]:
        ends = range(chunk, tokens + 1, 37) if chunk == 1 else range(chunk, tokens + 1, chunk)
        for end in ends:
            part = SequenceData(q=s.q[end - chunk : end], k=s.k[:end], v=s.v[:end])
            ((out, _),) = attend(isa, dtype, [part], block_size, threads=3)
            assert same_bits(out, whole[end - chunk : end]), (chunk, end)


def test_a_long_decode_split_over_threads(isa: str) -> None:
    s = sequence(1, 1, 5000, 3, 1, 64, "bfloat16")
    one, many = (attend(isa, "bfloat16", [s], 64, threads)[0] for threads in (1, 8))
    assert same_bits(one[0], many[0])
    assert same_bits(one[1], many[1])
    assert np.abs(from_storage(one[0], "bfloat16") - expected(s)[0]).max() <= 1e-2

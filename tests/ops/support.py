"""Float arrays in storage types, packed weights and paged pools, as the op tests need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vajra.engine import _native

ops = _native.ops

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]

FAMILIES = ("scalar", "avx2", "avx512", "avx512fma", "amx")
HOST_FAMILIES = FAMILIES[: FAMILIES.index(ops.host_isa()) + 1]
ISAS = (*HOST_FAMILIES, "amx-emulated")

TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def act_dtype(dtype: str) -> str:
    """Activations' dtype for a model of dtype."""
    return "bfloat16" if dtype == "bfloat16" else "float32"


def to_storage(x: Floats, dtype: str) -> Array:
    """Rounds to dtype; 16-bit floats come as uint16 bits."""
    t = torch.from_numpy(np.ascontiguousarray(x)).to(TORCH[dtype])
    stored: Array = t.numpy() if dtype == "float32" else t.view(torch.uint16).numpy()
    return stored


def from_storage(x: Array, dtype: str) -> Floats:
    """The float32 values of what to_storage gives."""
    t = torch.from_numpy(np.ascontiguousarray(x))
    values: Floats = (t if dtype == "float32" else t.view(TORCH[dtype])).to(torch.float32).numpy()
    return values


def rounded(x: Floats, dtype: str) -> Floats:
    """x as dtype can hold it."""
    return from_storage(to_storage(x, dtype), dtype)


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def random(seed: int, *shape: int) -> Floats:
    """Standard normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def pack(w: Floats, dtype: str) -> Any:
    """A packed weight [n, k], an ops.Matrix; int8 ones are quantised from float32."""
    source = "float32" if dtype == "int8" else dtype
    matrix = ops.Matrix(dtype, *w.shape)
    matrix.pack_rows(0, to_storage(w, source), source)
    return matrix


def check_rows_bits(isa: str, rows: Array, packed: Any) -> None:
    """A row's product has the same bits among any number of rows, above or below them, and on any number of threads."""
    m = len(rows)
    whole = ops.Ops(isa, 1).gemm(rows, packed)
    kernels = ops.Ops(isa, 3)
    assert same_bits(kernels.gemm(rows, packed), whole)
    for size in [*range(1, 33), 47, 64, 65, 193, 256]:
        assert same_bits(kernels.gemm(rows[:size], packed), whole[:size]), size
        assert same_bits(kernels.gemm(rows[m - size :], packed), whole[m - size :]), size


@dataclass(frozen=True)
class SequenceData:
    """A sequence's keys and values [tokens, kv heads, d] and queries [num_query, heads, d], as dtypes can hold them."""

    q: Floats
    k: Floats
    v: Floats

    @property
    def ctx_len(self) -> int:
        """Tokens in KV."""
        return len(self.k)


class Pages:
    """A KV pool filled from plain arrays, blocks handed out in a seeded random order."""

    def __init__(self, dtype: str, num_blocks: int, heads: int, d: int, block_size: int, seed: int = 0) -> None:
        self.dtype, self.heads, self.d, self.block_size = dtype, heads, d, block_size
        self.pool = ops.KvPool(dtype, num_blocks, heads, d, block_size)
        pack_, group = (2 if dtype == "bfloat16" else 1), min(block_size, 16)
        element = np.float32 if dtype == "float32" else np.uint16
        # The pool has heads first; here blocks come first, as views of it.
        k = self.pool.k_bits.view(element).reshape(heads, num_blocks, block_size // group, d // pack_, group, pack_)
        v = self.pool.v_bits.view(element).reshape(heads, num_blocks, block_size // pack_, d, pack_)
        self.k, self.v = k.swapaxes(0, 1), v.swapaxes(0, 1)
        self._free = [int(b) for b in np.random.default_rng(seed).permutation(num_blocks)]

    def poison(self) -> None:
        """Fills the pool with NaN."""
        nan = np.float32(np.nan) if self.dtype == "float32" else np.uint16(0x7FFF)
        self.k[...] = nan
        self.v[...] = nan

    def take(self, tokens: int) -> list[int]:
        """A block table for that many tokens."""
        n = -(-tokens // self.block_size)
        table, self._free = self._free[:n], self._free[n:]
        assert len(table) == n, "test pool too small"
        return table

    def write(self, table: Sequence[int], k: Floats, v: Floats) -> None:
        """Stores keys and values [tokens, heads, d] from position 0."""
        pack_, group = self.v.shape[-1], self.k.shape[-2]
        keys, values = to_storage(k, self.dtype), to_storage(v, self.dtype)
        for t in range(len(k)):
            block, o = table[t // self.block_size], t % self.block_size
            self.k[block, :, o // group, :, o % group, :] = keys[t].reshape(self.heads, self.d // pack_, pack_)
            self.v[block, :, o // pack_, :, o % pack_] = values[t]
            if pack_ == 2 and t + 1 == len(k) and o % 2 == 0:
                self.v[block, :, o // pack_, :, 1] = 0  # as rope_kv leaves it

    def read(self, table: Sequence[int], tokens: int) -> tuple[Array, Array]:
        """Keys and values [tokens, heads, d], in storage."""
        pack_, group = self.v.shape[-1], self.k.shape[-2]
        k, v = [], []
        for t in range(tokens):
            block, o = table[t // self.block_size], t % self.block_size
            k.append(self.k[block, :, o // group, :, o % group, :].reshape(self.heads, self.d))
            v.append(self.v[block, :, o // pack_, :, o % pack_])
        return np.stack(k), np.stack(v)

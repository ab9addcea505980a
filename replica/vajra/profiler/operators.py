"""Times of single operators of one layer, by the kernels that the engine uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vajra.engine._native import ops
from vajra.models.spec import ModelSpec
from vajra.profiler.calm import Calm

Array = npt.NDArray[np.generic]
_T = TypeVar("_T")

_WEIGHT_BYTES = 256 << 20  # of layers that calls cycle through, so that weights come from where the engine's come from
_HEAD_BYTES = 128 << 20  # a larger head is measured in part: its time is in proportion to its columns
_KV_BYTES = 256 << 20
_MOST = 12  # repeats of one point at a time
_PATIENCE = 0.06  # seconds for the repeats of one point, when the fewest are done


@dataclass
class _Layer:
    qkv: ops.Matrix
    o: ops.Matrix
    gate_up: ops.Matrix
    down: ops.Matrix


class Operators:
    """One layer's operators over synthetic data. Each method returns the seconds of several calls.

    Weights and KV pages change from call to call, as layers do within a step.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        isa: str,
        threads: int,
        block_size: int,
        max_context: int,
        kv_blocks: int,
        fewest: int,
        calm: Calm,
    ) -> None:
        """Takes up to about 700 MiB, or one layer's weights where these are more. `kv_blocks` are those of the engine's
        layers together, `fewest` the repeats of each point."""
        self._spec, self._fewest, self._calm = spec, fewest, calm
        self._kernels = ops.Ops(isa, threads)
        self._block_size = block_size
        self._rng = np.random.default_rng(0)
        self._act = "float32" if spec.dtype in ("float32", "float16") else spec.dtype
        weight = "int8" if spec.quantization == "int8" else spec.dtype
        d, heads, kv_heads, hidden = spec.head_dim, spec.num_heads, spec.num_kv_heads, spec.hidden_size

        def matrix(n: int, k: int) -> ops.Matrix:
            made = ops.Matrix(weight, n, k)
            rows = self._numbers((min(n, 1024), k))
            for begin in range(0, n, len(rows)):
                made.pack_rows(begin, rows[: min(len(rows), n - begin)], self._act)
            return made

        def layer() -> _Layer:
            width = (heads + 2 * kv_heads) * d
            f = spec.intermediate_size
            return _Layer(matrix(width, hidden), matrix(hidden, heads * d), matrix(2 * f, hidden), matrix(hidden, f))

        first = layer()
        size = sum(m.bits.nbytes for m in (first.qkv, first.o, first.gate_up, first.down))
        self._layers = [first, *(layer() for _ in range(min(spec.num_layers, _WEIGHT_BYTES // size) - 1))]
        self._next_layer = cycle(self._layers)
        row = hidden * (1 if weight == "int8" else 4 if weight == "float32" else 2)
        self._head_columns = min(spec.vocab_size, max(1024, _HEAD_BYTES // row))
        self._head = matrix(self._head_columns, hidden)

        itemsize = 4 if spec.dtype == "float32" else 2
        token = 2 * kv_heads * d * itemsize
        self.max_context = min(max_context, _KV_BYTES // token // block_size * block_size)
        # Calls come back to a page when they have passed as many others as steps do: else caches would hold them all.
        self._num_blocks = max(min(_KV_BYTES // token // block_size, kv_blocks), -(-self.max_context // block_size), 1)
        self._pool = ops.KvPool(spec.dtype, self._num_blocks, kv_heads, d, block_size)
        self._next_block = 0
        self._norm = np.ones(hidden, np.float32)
        self._qk_norm = np.ones(d, np.float32) if spec.qk_norm else None
        self._bias = np.zeros((heads + 2 * kv_heads) * d, np.float32) if spec.qkv_bias else None

    @property
    def max_kv_tokens(self) -> int:
        """KV tokens of one call at most."""
        return self._num_blocks * self._block_size

    def tokens(self, count: int) -> dict[str, list[float]]:
        """A layer's pass of `count` tokens, without attention: seconds by Vidur's names."""
        spec, k = self._spec, self._kernels
        d, heads = spec.head_dim, spec.num_heads
        x = self._floats((count, spec.hidden_size))
        attended = self._activations((count, heads * d))
        qkv = np.zeros((count, (heads + 2 * spec.num_kv_heads) * d), np.float32)
        gate_up = np.zeros((count, 2 * spec.intermediate_size), np.float32)
        rotation = np.ones((count, d), np.float32)

        def norm() -> Array:
            return k.rmsnorm(x, self._norm, spec.rms_norm_eps, self._act)

        def layer_pass() -> dict[str, float]:
            times: dict[str, float] = {}

            def timed(name: str, call: Callable[[], Array]) -> Array:
                start = time.perf_counter()
                result = call()
                times[name] = time.perf_counter() - start
                return result

            layer = next(self._next_layer)
            seqs = ops.Sequences([(count, count, self._blocks(count))], self._pool)
            norms = self._qk_norm, self._qk_norm, spec.rms_norm_eps
            h = timed("input_layernorm", norm)
            timed("attn_pre_proj", lambda: k.gemm(h, layer.qkv, self._bias, qkv))
            timed("attn_rope", lambda: k.rope_kv(qkv, heads, self._pool, rotation, seqs, *norms))
            timed("attn_post_proj", lambda: k.gemm(attended, layer.o, None, x))
            g = timed("post_attention_layernorm", norm)
            timed("mlp_up_proj", lambda: k.gemm(g, layer.gate_up, None, gate_up))
            gated = timed("mlp_act", lambda: k.silu_mul(gate_up, self._act))
            timed("mlp_down_proj", lambda: k.gemm(gated, layer.down, None, x))
            x[:] = 1.0  # the residual would grow without bound
            return times

        passes = self._repeat(layer_pass)
        return {name: [share * times[name] for times, share in passes] for name in passes[0][0]}

    def embedding(self, count: int) -> list[float]:
        """Looking up `count` rows."""
        ids = self._rng.integers(0, self._head_columns, count).astype(np.int32)
        return self._timed(lambda: self._kernels.embedding(self._head, ids))

    def head(self, rows: int) -> list[float]:
        """Logits of `rows` rows, after their norm."""
        spec, k = self._spec, self._kernels
        x = self._floats((rows, spec.hidden_size))
        logits = np.zeros((rows, self._head_columns), np.float32)
        one, few = self._activations((1, spec.hidden_size)), np.zeros((1, 2 * spec.intermediate_size), np.float32)

        def call() -> None:
            k.gemm(k.rmsnorm(x, self._norm, spec.rms_norm_eps, self._act), self._head, None, logits)

        def others() -> None:  # between two steps' heads pass the layers
            for _ in self._layers:
                k.gemm(one, next(self._next_layer).gate_up, None, few)

        share = spec.vocab_size / self._head_columns
        return [share * s for s in self._timed(call, others)]

    def attention(self, queries: int, context: int, sequences: int = 1) -> list[float]:
        """Attention of `sequences` sequences with so many query tokens each, behind `context` KV tokens each."""
        spec, length = self._spec, context + queries
        q = self._activations((sequences * queries, spec.num_heads, spec.head_dim))
        scale = spec.head_dim**-0.5

        def call() -> float:
            slices = [(queries, length, self._blocks(length)) for _ in range(sequences)]
            seqs = ops.Sequences(slices, self._pool)
            start = time.perf_counter()
            self._kernels.attention(q, self._pool, seqs, scale)
            return time.perf_counter() - start

        return [share * seconds for seconds, share in self._repeat(call)]

    def _timed(self, call: Callable[[], object], between: Callable[[], object] | None = None) -> list[float]:
        def once() -> float:
            if between:
                between()
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        return [share * seconds for seconds, share in self._repeat(once)]

    def _repeat(self, call: Callable[[], _T]) -> list[tuple[_T, float]]:
        """Results of the fewest calls that count, or of more while there is time, each with the share of its times that
        was not waiting; the first call does not count."""
        call()
        results: list[tuple[_T, float]] = []
        end = time.perf_counter() + _PATIENCE
        while len(results) < self._fewest or (len(results) < _MOST and time.perf_counter() < end):
            mark = self._calm.mark()
            result = call()
            share = self._calm.share(mark)
            if share > 0:
                results.append((result, share))
        return results

    def _blocks(self, tokens: int) -> list[int]:
        """Neighbouring pages, others each time."""
        count = -(-tokens // self._block_size)
        if self._next_block + count > self._num_blocks:
            self._next_block = 0
        begin, self._next_block = self._next_block, self._next_block + count
        return list(range(begin, begin + count))

    def _floats(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        return self._rng.standard_normal(shape, np.float32)

    def _numbers(self, shape: tuple[int, ...]) -> Array:
        """Random values as activations are stored."""
        values = 0.05 * self._floats(shape)
        if self._act == "bfloat16":
            return (values.view(np.uint32) >> 16).astype(np.uint16)
        return values

    def _activations(self, shape: tuple[int, ...]) -> Array:
        return self._numbers(shape)

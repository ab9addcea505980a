"""Speed of the GEMM and attention kernels, beside torch's in the same run.

python -m bench.ops [--isa ISA] [--dtype DTYPE] [--threads N]
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import torch
from bench.machine import best_seconds

from vajra.engine._native import ops

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]

TORCH = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.bfloat16}  # int8: of weights alone
SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536), (49152, 576)]  # (n, k) of SmolLM2-135M
ROWS = [1, 8, 64, 512, 2048]
COLD_BYTES = 100 << 20  # weights are cycled through this much memory, as a model's layers are


def stored(x: torch.Tensor) -> Array:
    """A tensor as the ops take it: bfloat16 as uint16 bits."""
    array: Array = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return array


def gemm(kernels: ops.Ops, dtype: str) -> None:
    """Prints speed of ours and of torch's linear for the shapes of a small model, and how fast our weights are read.

    Beside int8 weights stands torch's linear in bfloat16.
    """
    print(f"{'n':>6} {'k':>5} {'m':>5} {'ours GFLOP/s':>13} {'GB/s':>6} {'torch':>8}")
    for n, k in SHAPES:
        w = (torch.randn(n, k) * 0.05).to(TORCH[dtype])
        copies = max(1, COLD_BYTES // (w.numel() * (1 if dtype == "int8" else w.element_size())))
        source = str(w.dtype).removeprefix("torch.")
        packed = []
        for _ in range(copies):
            packed.append(ops.Matrix(dtype, n, k))
            packed[-1].pack_rows(0, stored(w), source)
        weight_bytes = packed[0].bits.nbytes * copies
        dense = [w.clone() for _ in range(copies)]
        for m in ROWS:
            if m * n > 512 * 8192:
                continue
            x, c = torch.randn(m, k).to(TORCH[dtype]), np.zeros((m, n), np.float32)
            rows = stored(x)

            def ours(rows: Array = rows, c: Floats = c, packed: list[ops.Matrix] = packed) -> None:
                for p in packed:
                    kernels.gemm(rows, p, None, c)

            def theirs(x: torch.Tensor = x, dense: list[torch.Tensor] = dense) -> None:
                for d in dense:
                    torch.nn.functional.linear(x, d)

            flops = 2 * m * n * k * copies
            seconds, their_seconds = best_seconds(ours), best_seconds(theirs)
            print(
                f"{n:6} {k:5} {m:5} {flops / seconds / 1e9:13.1f} {weight_bytes / seconds / 1e9:6.1f} "
                f"{flops / their_seconds / 1e9:8.1f}"
            )


def attention(kernels: ops.Ops, dtype: str, heads: int = 9, kv_heads: int = 3, d: int = 64) -> None:
    """Prints the time of paged attention for prefills, chunks and decodes: (sequences, queries, context)."""
    print(f"{'seqs':>6} {'query':>6} {'ctx':>6} {'microseconds':>13} {'GFLOP/s':>8}")
    for seqs, queries, ctx in [
        (1, 1, 1000),
        (64, 1, 1000),
        (1, 1, 16000),
        (1, 512, 512),
        (1, 2048, 2048),
        (1, 256, 4096),
    ]:
        blocks = -(-ctx // 16)
        pool = ops.KvPool(dtype, seqs * blocks, kv_heads, d, 16)
        order = np.random.default_rng(0).permutation(seqs * blocks).reshape(seqs, blocks)
        slices = ops.Sequences([(queries, ctx, row.tolist()) for row in order], pool)
        q = stored(torch.randn(seqs * queries, heads, d).to(TORCH[dtype]))
        seconds = best_seconds(lambda q=q, pool=pool, slices=slices: kernels.attention(q, pool, slices, d**-0.5))  # type: ignore[misc]
        flops = 4 * d * heads * seqs * (queries * (ctx - queries) + queries * (queries + 1) / 2)
        print(f"{seqs:6} {queries:6} {ctx:6} {seconds * 1e6:13.1f} {flops / seconds / 1e9:8.1f}")


def main() -> None:
    """Parses the command line and runs both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", default=ops.selected_isa())
    parser.add_argument("--dtype", default="bfloat16", choices=list(TORCH))
    parser.add_argument("--threads", type=int, default=ops.usable_cpus())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.isa}, {args.dtype}, {args.threads} threads")
    kernels = ops.Ops(args.isa, args.threads)
    gemm(kernels, args.dtype)
    if args.dtype != "int8":  # KV is kept in bfloat16 then
        attention(kernels, args.dtype)


if __name__ == "__main__":
    main()

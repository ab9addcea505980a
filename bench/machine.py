"""What this machine measures: read bandwidth and the rate of bfloat16 products, all threads."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from bench.roofline import Rates

from vajra.engine._native import ops

_GEMM = (512, 4096, 4096)  # rows, outputs, inputs: large enough that packing and edges do not show
_ROUNDS = 7


def usable_cpus() -> int:
    """As many as the engine would use: affinity and the cgroup's quota."""
    return ops.usable_cpus()


def describe() -> dict[str, str]:
    """The machine in words, for the head of a report."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "threads": str(usable_cpus()),
        "kernels": ops.selected_isa(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def measure(working_set: int, threads: int) -> Rates:
    """Rates of reading `working_set` bytes, a model's weights, over and over, and of a large product.

    Each is the best of some rounds and of several ways: a roofline is what the machine can do.
    """
    return Rates(bandwidth=_bandwidth(working_set, threads), flops=_flops(threads))


def best_seconds(run: Callable[[], object]) -> float:
    """The shortest of some runs, after one that is not counted."""
    run()
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _bandwidth(size: int, threads: int) -> float:
    """By sums in numpy, one part for each thread, and by our product of one row with a matrix of that size."""
    parts = np.array_split(np.ones(size // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        sums = size / best_seconds(lambda: list(pool.map(np.add.reduce, parts)))
    kernels = ops.Ops(ops.selected_isa(), threads)
    k = 2048
    n = size // (2 * k)
    matrix = ops.Matrix("bfloat16", n, k)
    rows = np.zeros((min(n, 4096), k), np.uint16)
    for begin in range(0, n, len(rows)):
        matrix.pack_rows(begin, rows[: min(len(rows), n - begin)], "bfloat16")
    x, c = np.zeros((1, k), np.uint16), np.zeros((1, n), np.float32)
    product = matrix.bits.nbytes / best_seconds(lambda: kernels.gemm(x, matrix, None, c))
    return float(max(sums, product))


def _flops(threads: int) -> float:
    """By our product and, where torch is installed, by torch's."""
    m, n, k = _GEMM
    generator = np.random.default_rng(0)
    bits = (generator.standard_normal((max(m, n), k)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    kernels = ops.Ops(ops.selected_isa(), threads)
    matrix = ops.Matrix("bfloat16", n, k)
    matrix.pack_rows(0, bits[:n], "bfloat16")
    x, c = np.ascontiguousarray(bits[:m]), np.zeros((m, n), np.float32)
    rates = [2 * m * n * k / best_seconds(lambda: kernels.gemm(x, matrix, None, c))]
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(threads)
        a = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        b = torch.from_numpy(bits[:n].view(np.int16)).view(torch.bfloat16)
        rates.append(2 * m * n * k / best_seconds(lambda: torch.nn.functional.linear(a, b)))
    return max(rates)

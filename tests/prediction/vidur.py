"""A synthetic GPU in Vidur's CSV layout, from formulas: so a fit can be held against them."""

from __future__ import annotations

import csv
from pathlib import Path

from vajra.prediction.measurements import ATTENTION_COLUMNS, MLP_COLUMNS, TOKEN_OPS, statistics_of

HIDDEN, LAYERS, HEADS, KV_HEADS = 1024, 8, 16, 4
_COLLECTIVE = ["rank", "num_workers", "size", "collective", "devices_per_node", "max_devices_per_node"]


def op_seconds(tokens: int, workers: int) -> float:
    """Of each operator of a layer."""
    return 5e-6 + 1e-7 * tokens / workers


def all_reduce_seconds(size: int) -> float:
    return 1e-5 + size / 100e9


def send_recv_seconds(size: int) -> float:
    return 2e-5 + size / 50e9


def prefill_seconds(chunk: int, context: int) -> float:
    return 1e-6 + 2e-11 * chunk * (context + chunk / 2)


def decode_seconds(batch: int, context: int) -> float:
    return 2e-6 + 1e-10 * batch * context


def write(root: Path, *, attention: bool) -> Path:
    """Returns the model's folder."""
    folder = root / "compute" / "a100" / "someone" / "a-model"
    model = {"n_head": HEADS, "n_kv_head": KV_HEADS, "n_embd": HIDDEN, "n_expanded_embd": 4096, "vocab_size": 32000}
    rows: list[dict[str, object]] = []
    for workers in (1, 2):
        for tokens in (1, 2, 4, *range(8, 1025, 8)):
            row: dict[str, object] = {
                "use_gated_mlp": True,
                "num_tokens": tokens,
                "num_tensor_parallel_workers": workers,
            }
            for op in TOKEN_OPS:
                row |= statistics_of(op, [op_seconds(tokens, workers)])
            rows.append(row | model)
    _write(folder / "mlp.csv", MLP_COLUMNS, rows)
    if attention:
        _write(folder / "attention.csv", ATTENTION_COLUMNS, [*_prefills(), *_decodes()])
    network = root / "network" / "a100_dgx"
    for op, seconds in (("all_reduce", all_reduce_seconds), ("send_recv", send_recv_seconds)):
        sizes = [2 * HIDDEN * n for n in (1, 8, 64, 512, 4096)]
        collective: list[dict[str, object]] = [
            {**statistics_of(op, [seconds(s)]), "rank": 0, "num_workers": 2, "size": s, "collective": op}
            | {"devices_per_node": 2, "max_devices_per_node": 4}
            for s in sizes
        ]
        _write(network / f"{op}.csv", [*statistics_of(op, []), *_COLLECTIVE], collective)
    return folder


def _attention(batch: int, chunk: int, context: int) -> dict[str, object]:
    return {
        "n_embd": HIDDEN,
        "n_q_head": HEADS,
        "n_kv_head": KV_HEADS,
        "block_size": 16,
        "num_tensor_parallel_workers": 1,
        "max_model_len": 8192,
        "batch_size": batch,
        "prefill_chunk_size": chunk,
        "kv_cache_size": context,
        "is_prefill": chunk > 0,
        "attention_backend": "AttentionBackend.FLASHINFER",
    }


def _prefills() -> list[dict[str, object]]:
    return [
        {**_attention(1, q, c), **statistics_of("attn_prefill", [prefill_seconds(q, c)])}
        for q in (1, 64, 512, 1024)
        for c in (0, 1024, 8192)
    ]


def _decodes() -> list[dict[str, object]]:
    return [
        {**_attention(n, 0, c), **statistics_of("attn_decode", [decode_seconds(n, c)])}
        for n in (1, 16, 128)
        for c in (64, 1024, 8192)
    ]


def _write(path: Path, columns: list[str], rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, columns)
        writer.writeheader()
        writer.writerows(rows)

"""How many KV blocks a worker's memory holds."""

from __future__ import annotations

from vajra.models.spec import ModelSpec

_DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_RUNTIME_BYTES = 256 << 20  # interpreter, libraries, buffers of the operating system


class OutOfMemory(Exception):
    """Weights and one maximal sequence do not fit; says what does and what to change."""


def weight_bytes(spec: ModelSpec) -> int:
    """Bytes of the packed weights, about."""
    attention = spec.hidden_size * spec.head_dim * (2 * spec.num_heads + 2 * spec.num_kv_heads)
    layer = attention + 3 * spec.hidden_size * spec.intermediate_size
    # A tied matrix is packed once: rows are looked up in the panels that the logits multiply.
    embeddings = spec.vocab_size * spec.hidden_size * (1 if spec.tie_embeddings else 2)
    elements = layer * spec.num_layers + embeddings
    if spec.quantization == "int8":
        return elements + elements // 8  # a float32 scale per 32 weights
    return elements * _DTYPE_BYTES[spec.dtype]


def activation_bytes(spec: ModelSpec, max_batch_tokens: int, max_batch_size: int) -> int:
    """Bytes of the buffers of one step, float32 at worst, with logits for every sequence."""
    heads = spec.head_dim * (2 * spec.num_heads + 2 * spec.num_kv_heads)
    per_token = 4 * spec.hidden_size + heads + 3 * spec.intermediate_size
    return 4 * (per_token * max_batch_tokens + spec.vocab_size * max_batch_size)


def fixed_bytes(spec: ModelSpec, max_batch_tokens: int, max_batch_size: int) -> int:
    """Bytes that a worker takes beside its KV blocks."""
    return weight_bytes(spec) + activation_bytes(spec, max_batch_tokens, max_batch_size) + _RUNTIME_BYTES


def num_kv_blocks(
    spec: ModelSpec,
    *,
    memory_bytes: int,
    utilization: float,
    num_local_replicas: int,
    block_bytes: int,
    block_size: int,
    max_model_len: int,
    max_batch_size: int,
    max_batch_tokens: int,
) -> int:
    """KV blocks that this worker's share of `memory_bytes` holds, and no more than a full batch can use.

    Raises OutOfMemory when they do not hold one sequence of `max_model_len` tokens.
    """
    share = int(memory_bytes * utilization) // num_local_replicas
    fixed = fixed_bytes(spec, max_batch_tokens, max_batch_size)
    blocks_per_sequence = -(-max_model_len // block_size)
    blocks = min((share - fixed) // block_bytes, max_batch_size * blocks_per_sequence)
    if blocks < blocks_per_sequence:
        mib = 1 << 20
        fitting = max(0, blocks) * block_size
        raise OutOfMemory(
            f"one sequence of max_model_len = {max_model_len} tokens does not fit: this worker may use "
            f"{share // mib} MiB (memory {memory_bytes // mib} MiB × gpu_memory_utilization {utilization:g} / "
            f"{num_local_replicas} replicas), weights and activations take {fixed // mib} MiB, which leaves KV blocks "
            f"for {fitting} tokens. Lower model.maxModelLen or replicas, raise worker.gpuMemoryUtilizationPercent, "
            "or give it more memory."
        )
    return blocks

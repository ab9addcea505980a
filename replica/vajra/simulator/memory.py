"""How many KV blocks a replica's devices hold."""

from __future__ import annotations

from vajra.prediction.shapes import Shape, weight_elements
from vajra.simulator.errors import SimulationError

_BYTES = 2  # of a weight, of an activation and of a value in the KV cache
_RUNTIME_BYTES = 1.5 * (1 << 30)  # driver, communicators and workspaces of a device


def kv_blocks(
    shape: Shape,
    *,
    memory_bytes: float,
    utilization: float,
    tensor: int,
    pipeline: int,
    block_size: int,
    max_model_len: int,
    max_batch_size: int,
    max_batch_tokens: int,
) -> int:
    """Blocks in the pool of a replica of `tensor` x `pipeline` devices with `memory_bytes` each, of which the share
    `utilization` is used; no more than a full batch of maximal sequences can use.

    Raises SimulationError when they do not hold one sequence of `max_model_len` tokens.
    """
    ranks = tensor * pipeline
    weights = weight_elements(shape) * _BYTES / ranks
    per_token = 4 * shape.hidden_size + (3 * shape.intermediate_size + 2 * shape.head_dim * shape.num_heads) / tensor
    activations = _BYTES * per_token * max_batch_tokens + 4 * shape.vocab_size / tensor * max_batch_size
    block_bytes = 2 * block_size * shape.num_layers * shape.num_kv_heads * shape.head_dim * _BYTES / ranks
    free = memory_bytes * utilization - weights - activations - _RUNTIME_BYTES
    needed = -(-max_model_len // block_size)
    blocks = min(int(free // block_bytes), max_batch_size * needed)
    if blocks < needed:
        gib, devices = 1 << 30, "one device" if ranks == 1 else f"{ranks} devices"
        raise SimulationError(
            f"one sequence of {max_model_len} tokens does not fit into {devices}: of each one's "
            f"{memory_bytes / gib:.0f} GiB x {utilization:g} weights take {weights / gib:.1f}, activations and runtime "
            f"{(activations + _RUNTIME_BYTES) / gib:.1f}, which leaves KV blocks for {max(0, blocks) * block_size} "
            "tokens. Use more tensor or pipeline ranks, or lower maxModelLen"
        )
    return blocks

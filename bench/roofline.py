"""The least time that a machine could need: bytes and operations of a workload over what the machine measures. Pure.

A pass takes at least its operations over the rate of matrix products, and at least its bytes over the read bandwidth;
the larger counts. Bytes are the weights, read once per pass, and each sequence's keys and values. Softmax, norms,
rotations and activations count nothing, and a prompt's logits are of its last token alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A Llama's sizes."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool  # one matrix is embedding and output

    @property
    def block_weights(self) -> int:
        """Weights of all layers' matrices: q and o, k and v, gate, up and down."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return self.layers * (2 * self.hidden * q + 2 * self.hidden * kv + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> int:
        """Weights of the output matrix. Of the embedding only the rows of the tokens are read: nothing."""
        return self.hidden * self.vocabulary

    @property
    def read_weights(self) -> int:
        """Weights that one pass reads."""
        return self.block_weights + self.head_weights

    @property
    def kv_values(self) -> int:
        """Values kept per token, keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def attention_flops(self) -> int:
        """Operations of one query token over one position, all layers: scores and their weighted sum."""
        return 4 * self.layers * self.heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Bytes per weight and per kept key or value."""

    weight: float = 2.0
    kv: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a machine measures: bytes read per second, and operations per second of products in bfloat16."""

    bandwidth: float
    flops: float


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one pass."""

    flops: float
    bytes: float

    def seconds(self, rates: Rates) -> float:
        """The least time."""
        return max(self.flops / rates.flops, self.bytes / rates.bandwidth)

    def bound(self, rates: Rates) -> str:
        """Which of the two it is: "flops" or "bytes"."""
        return "flops" if self.flops / rates.flops > self.bytes / rates.bandwidth else "bytes"


def prefill(shape: ModelShape, requests: int, prompt: int, storage: Storage) -> Cost:
    """All prompts from nothing to one logit row each."""
    pairs = prompt * (prompt + 1) // 2  # each token attends to itself and to those before it
    each = 2 * shape.block_weights * prompt + 2 * shape.head_weights + shape.attention_flops * pairs
    return Cost(requests * each, shape.read_weights * storage.weight)


def decode_step(shape: ModelShape, requests: int, context: float, storage: Storage) -> Cost:
    """One token for each request, whose query attends to `context` positions, itself included."""
    flops = requests * (2 * shape.read_weights + shape.attention_flops * context)
    return Cost(flops, shape.read_weights * storage.weight + requests * context * shape.kv_values * storage.kv)


def first_token_seconds(shape: ModelShape, requests: int, prompt: int, storage: Storage, rates: Rates) -> float:
    """From the prompts to the first token of each."""
    return prefill(shape, requests, prompt, storage).seconds(rates)


def decode_seconds(shape: ModelShape, requests: int, prompt: int, output: int, storage: Storage, rates: Rates) -> float:
    """The output - 1 tokens after the first."""
    return sum(decode_step(shape, requests, prompt + i, storage).seconds(rates) for i in range(1, output))

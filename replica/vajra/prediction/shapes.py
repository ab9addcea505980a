"""The sizes of a model that its speed depends on, and those of well-known models, which need no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vajra.prediction.profile import Identity


class Shape(Protocol):
    """What a roofline asks of a model: a decoder of the Llama family. `vajra.models.ModelSpec` is one."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...

    @property
    def intermediate_size(self) -> int: ...

    @property
    def num_layers(self) -> int: ...

    @property
    def num_heads(self) -> int: ...

    @property
    def num_kv_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...

    @property
    def tie_embeddings(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A shape by itself."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int = 128
    tie_embeddings: bool = False
    max_model_len: int = 8192  # what the checkpoint allows

    @classmethod
    def of_profile(cls, identity: Identity) -> ModelShape:
        """The shape of the model that a profile was measured with; its embeddings count as not tied."""
        return cls(
            vocab_size=identity.vocab_size,
            hidden_size=identity.hidden_size,
            intermediate_size=identity.intermediate_size,
            num_layers=identity.num_layers,
            num_heads=identity.num_heads,
            num_kv_heads=identity.num_kv_heads,
            head_dim=identity.head_dim,
        )


_LLAMA_3_8B = ModelShape(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_layers=32, num_heads=32, num_kv_heads=8
)
_LLAMA_3_70B = ModelShape(
    vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_layers=80, num_heads=64, num_kv_heads=8
)
_LLAMA_3_1 = 131072

# From the config.json of each model's repository. gradientai's is Llama-3-8B with a longer rope.
MODEL_SHAPES: dict[str, ModelShape] = {
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3_8B,
    "meta-llama/Meta-Llama-3-70B-Instruct": _LLAMA_3_70B,
    "meta-llama/Llama-3.1-8B-Instruct": ModelShape(**{**vars(_LLAMA_3_8B), "max_model_len": _LLAMA_3_1}),
    "meta-llama/Llama-3.1-70B-Instruct": ModelShape(**{**vars(_LLAMA_3_70B), "max_model_len": _LLAMA_3_1}),
    "gradientai/Llama-3-8B-Instruct-Gradient-1048k": ModelShape(**{**vars(_LLAMA_3_8B), "max_model_len": 1048576}),
    "mistralai/Mistral-7B-Instruct-v0.2": ModelShape(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        max_model_len=32768,
    ),
}


def layer_elements(shape: Shape) -> int:
    """Elements of the matrices of one layer."""
    heads = shape.head_dim * (2 * shape.num_heads + 2 * shape.num_kv_heads)
    return shape.hidden_size * (heads + 3 * shape.intermediate_size)


def weight_elements(shape: Shape) -> int:
    """Elements of all matrices."""
    embeddings = shape.vocab_size * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return layer_elements(shape) * shape.num_layers + embeddings

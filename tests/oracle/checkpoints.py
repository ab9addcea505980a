"""Small random checkpoints of every architecture, as transformers models and as what an engine takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from tests.models.checkpoints import ROPE_SCALINGS

from vajra.models.spec import ModelSpec, RopeSpec
from vajra.models.tensor import Tensor

MAX_POSITIONS = 512

_SHAPE: dict[str, Any] = {
    "vocab_size": 131,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": MAX_POSITIONS,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


def _rope(kind: str, **changes: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10000.0, **ROPE_SCALINGS[kind], **changes}}


# name: (config class, what differs from _SHAPE)
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-mha": ("LlamaConfig", {"num_key_value_heads": 4}),
    "llama-gqa-tied": ("LlamaConfig", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "llama-llama3": ("LlamaConfig", _rope("llama3")),
    "llama-linear": ("LlamaConfig", _rope("linear")),
    "llama-yarn": ("LlamaConfig", _rope("yarn", original_max_position_embeddings=128)),
    "mistral-wide-heads": ("MistralConfig", {"head_dim": 32, "sliding_window": None}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
}


class StateDict:
    """A WeightSource over a transformers model: matrices in `dtype`, vectors in float32."""

    def __init__(self, model: Any, dtype: str) -> None:
        self._tensors = {name: tensor.detach() for name, tensor in model.named_parameters()}
        self._dtype = dtype

    def names(self) -> Sequence[str]:
        return list(self._tensors)

    def tensor(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        dtype = "float32" if tensor.ndim == 1 else self._dtype
        tensor = tensor.to(getattr(torch, dtype)).contiguous()
        array = tensor.view(torch.uint16).numpy() if dtype == "bfloat16" else tensor.numpy()
        return Tensor(name, dtype, array)


@dataclass(frozen=True)
class Checkpoint:
    """A transformers model in float32 and the same weights for an engine."""

    model: Any
    spec: ModelSpec
    weights: StateDict

    def logits(self, token_ids: list[int]) -> npt.NDArray[np.float32]:
        """transformers' float32 logits [tokens, vocab]."""
        with torch.inference_mode():
            return np.asarray(self.model(torch.tensor([token_ids])).logits[0].float().numpy())


def random_checkpoint(name: str, dtype: str = "float32") -> Checkpoint:
    """A seeded model whose values `dtype` holds exactly, so that every engine starts from the same numbers."""
    kind, changes = CHECKPOINTS[name]
    config = getattr(transformers, kind)(**{**_SHAPE, **changes})
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 2:
                parameter.copy_((noise * parameter.shape[1] ** -0.5).to(getattr(torch, dtype)))
            else:
                parameter.copy_(1 + 0.2 * noise)
    return Checkpoint(model, spec_of(model, dtype), StateDict(model, dtype))


def spec_of(model: Any, dtype: str) -> ModelSpec:
    """A ModelSpec read off a transformers model itself, not its config.json: independent of vajra.models."""
    config, rope = model.config, model.model.rotary_emb
    attention = model.model.layers[0].self_attn
    return ModelSpec(
        architecture=type(model).__name__,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=attention.head_dim,
        rms_norm_eps=config.rms_norm_eps,
        rope=RopeSpec(inv_freq=tuple(rope.inv_freq.tolist()), attention_factor=float(rope.attention_scaling)),
        tie_embeddings=config.tie_word_embeddings,
        qkv_bias=attention.q_proj.bias is not None,
        qk_norm=hasattr(attention, "q_norm"),
        max_model_len=config.max_position_embeddings,
        dtype=dtype,
        eos_token_ids=(),
        bos_token_id=None,
    )

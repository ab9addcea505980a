"""Tiny random models of every architecture variant, made in memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vajra.models.spec import ModelSpec, RopeSpec
from vajra.models.tensor import Tensor, bfloat16_bits


def rope(head_dim: int, theta: float = 10000.0) -> RopeSpec:
    freq = (1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)).astype(np.float32)
    return RopeSpec(inv_freq=tuple(float(f) for f in freq))


LLAMA = ModelSpec(
    architecture="LlamaForCausalLM",
    vocab_size=203,  # no multiple of a panel
    hidden_size=64,
    intermediate_size=112,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    rms_norm_eps=1e-5,
    rope=rope(16),
    tie_embeddings=True,
    qkv_bias=False,
    qk_norm=False,
    max_model_len=4096,
    dtype="float32",
    eos_token_ids=(2,),
    bos_token_id=1,
)
MISTRAL = replace(
    LLAMA, architecture="MistralForCausalLM", tie_embeddings=False, num_kv_heads=1, head_dim=32, rope=rope(32)
)
QWEN2 = replace(LLAMA, architecture="Qwen2ForCausalLM", qkv_bias=True, num_layers=3, hidden_size=80)
QWEN3 = replace(
    LLAMA, architecture="Qwen3ForCausalLM", qk_norm=True, tie_embeddings=False, head_dim=64, rope=rope(64, 1e6)
)
VARIANTS = (LLAMA, MISTRAL, QWEN2, QWEN3)


def int8(spec: ModelSpec) -> ModelSpec:
    """The model with int8 weights."""
    return replace(spec, dtype="bfloat16", quantization="int8")


class RandomWeights:
    """Weights that depend on a tensor's name alone; matrices in the model's dtype."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.asked: list[str] = []

    def names(self) -> Sequence[str]:
        s = self.spec
        names = ["model.embed_tokens.weight", "model.norm.weight"] + ([] if s.tie_embeddings else ["lm_head.weight"])
        for i in range(s.num_layers):
            layer = f"model.layers.{i}."
            names += [layer + f"{n}_layernorm.weight" for n in ("input", "post_attention")]
            names += [layer + f"self_attn.{n}_proj.weight" for n in "qkvo"]
            names += [layer + f"mlp.{n}_proj.weight" for n in ("gate", "up", "down")]
            names += [layer + f"self_attn.{n}_proj.bias" for n in "qkv"] if s.qkv_bias else []
            names += [layer + f"self_attn.{n}_norm.weight" for n in "qk"] if s.qk_norm else []
        return names

    def shape(self, name: str) -> tuple[int, ...]:
        s, part = self.spec, name.rsplit(".", 2)[-2]
        q, kv = s.num_heads * s.head_dim, s.num_kv_heads * s.head_dim
        rows = {
            "q_proj": q,
            "k_proj": kv,
            "v_proj": kv,
            "gate_proj": s.intermediate_size,
            "up_proj": s.intermediate_size,
        }
        out = rows.get(part, s.vocab_size if part in ("embed_tokens", "lm_head") else s.hidden_size)
        if part in ("q_norm", "k_norm"):
            return (s.head_dim,)
        if name.endswith(("norm.weight", ".bias")):
            return (out,)
        return out, {"o_proj": q, "down_proj": s.intermediate_size}.get(part, s.hidden_size)

    def tensor(self, name: str) -> Tensor:
        self.asked.append(name)
        shape = self.shape(name)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        x = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            return Tensor(name, "float32", (x * np.float32(0.2) + np.float32(name.endswith("norm.weight"))))
        x *= np.float32(1.5 / np.sqrt(shape[1]))
        if self.spec.dtype == "float16":
            return Tensor(name, "float16", x.astype(np.float16))
        if self.spec.dtype == "bfloat16":
            return Tensor(name, "bfloat16", bfloat16_bits(x))
        return Tensor(name, "float32", x)

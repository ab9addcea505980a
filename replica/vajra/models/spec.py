"""What an engine must know of a model: shapes, rope, norms. Made from config.json or GGUF metadata."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RopeSpec:
    """Rotary embedding, reduced to what kernels use.

    `inv_freq` has head_dim / 2 float32 values, scaling (linear, llama3, yarn) already applied; the angle
    of pair i at position p is the float32 product p * inv_freq[i]. cos and sin are multiplied by
    `attention_factor` (yarn; 1.0 elsewhere). Pairs are (i, i + head_dim / 2), as in Hugging Face's layout.
    """

    inv_freq: tuple[float, ...]
    attention_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A decoder of the Llama family (RMSNorm, rope, GQA, SwiGLU).

    Weights carry Hugging Face's names: `model.embed_tokens.weight` [vocab, hidden],
    `model.layers.{i}.self_attn.{q,k,v,o}_proj.weight` [out, in] (and `.bias` with `qkv_bias`),
    `model.layers.{i}.self_attn.{q,k}_norm.weight` [head_dim] with `qk_norm`,
    `model.layers.{i}.mlp.{gate,up,down}_proj.weight`, `model.layers.{i}.{input,post_attention}_layernorm.weight`,
    `model.norm.weight`, and `lm_head.weight` unless `tie_embeddings`.
    """

    architecture: str  # LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int  # override_num_layers applied
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope: RopeSpec
    tie_embeddings: bool
    qkv_bias: bool
    qk_norm: bool
    max_model_len: int  # what the checkpoint allows, before ModelConfig.max_model_len
    dtype: str  # float32, float16 or bfloat16: the resolved compute and storage dtype
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    quantization: str = "none"  # of matrices in the engine: none, or int8 with a scale per group along k

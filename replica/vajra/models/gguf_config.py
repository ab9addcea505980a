"""GGUF metadata -> ModelSpec."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vajra.models.errors import ModelError
from vajra.models.gguf_file import GGML_TYPES, GGUFFile
from vajra.models.hf_config import Description, describe
from vajra.models.spec import ModelSpec

# GGUF calls Mistral "llama" too: the arithmetic is the same.
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def describe_gguf(file: GGUFFile) -> Description:
    """The spec that the file's metadata describes; `spec.dtype` is float32, what dequantisation yields.

    Raises ModelError for an architecture or a value that cannot be served.
    """
    meta = file.metadata
    name = meta.get("general.architecture")
    if name not in ARCHITECTURES:
        raise ModelError(
            f"{file.path}: GGUF architecture {name!r} is not supported. Supported are {', '.join(ARCHITECTURES)}."
        )
    if meta.get(f"{name}.expert_count", 0):
        raise ModelError(f"{file.path}: mixtures of experts are not supported.")
    description = describe(_as_config(file, name), where=str(file.path))
    if "rope_freqs.weight" not in file.tensors:
        return description
    return dataclasses.replace(description, spec=_with_rope_factors(file, description.spec))


def _as_config(file: GGUFFile, name: str) -> dict[str, Any]:
    """The metadata in config.json's words, so that one set of checks holds for both."""
    meta = file.metadata

    def get(key: str, default: Any = None) -> Any:
        return meta.get(f"{name}.{key}", default)

    heads = get("attention.head_count")
    head_dim = get("attention.key_length")
    rotated = get("rope.dimension_count")
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[name]],
        "vocab_size": _vocab_size(file, name),
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv", heads),
        "head_dim": head_dim if head_dim is not None else rotated,
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": get("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "dtype": "float32",
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": _eos_ids(meta),
        "sliding_window": get("attention.sliding_window"),
        "use_sliding_window": get("attention.sliding_window") is not None,
        "rope_parameters": _rope(get),
    }
    if config["head_dim"] is not None and rotated is not None and rotated != config["head_dim"]:
        config["partial_rotary_factor"] = rotated / config["head_dim"]
    if get("attention.value_length", head_dim) != head_dim:
        raise ModelError(f"{file.path}: keys and values of different length are not supported.")
    return config


def _rope(get: Any) -> dict[str, Any]:
    kind = get("rope.scaling.type", "none")
    rope = {"rope_type": "default" if kind == "none" else kind, "rope_theta": get("rope.freq_base", 10000.0)}
    for ours, theirs in (
        ("factor", "factor"),
        ("original_max_position_embeddings", "original_context_length"),
        ("beta_fast", "yarn_beta_fast"),
        ("beta_slow", "yarn_beta_slow"),
    ):
        if get(f"rope.scaling.{theirs}") is not None:
            rope[ours] = get(f"rope.scaling.{theirs}")
    return rope


def _vocab_size(file: GGUFFile, name: str) -> int | None:
    """The rows of the embedding: some files state no vocab_size, some pad the matrix."""
    embedding = file.tensors.get("token_embd.weight")
    if embedding is not None:
        return embedding.shape[0]
    value: int | None = file.metadata.get(f"{name}.vocab_size")
    return value


def _eos_ids(meta: Mapping[str, Any]) -> list[int]:
    """End of text, of a turn, of a message: any of them ends an answer."""
    keys = ("eos_token_id", "eot_token_id", "eom_token_id")
    return [meta[f"tokenizer.ggml.{k}"] for k in keys if f"tokenizer.ggml.{k}" in meta]


def _with_rope_factors(file: GGUFFile, spec: ModelSpec) -> ModelSpec:
    """llama3 scaling, which GGUF stores as a divisor per frequency in the tensor rope_freqs.weight."""
    tensor = file.tensors["rope_freqs.weight"]
    if GGML_TYPES[tensor.ggml_type][0] != "F32" or tensor.shape != (spec.head_dim // 2,):
        raise ModelError(f"{file.path}: tensor rope_freqs.weight must be F32 of shape [{spec.head_dim // 2}].")
    factors = file.data(tensor).view("<f4")
    if not bool(np.all(np.isfinite(factors) & (factors > 0))):
        raise ModelError(f"{file.path}: tensor rope_freqs.weight must hold positive numbers.")
    inv_freq = np.asarray(spec.rope.inv_freq, dtype=np.float32) / factors
    return dataclasses.replace(spec, rope=dataclasses.replace(spec.rope, inv_freq=tuple(inv_freq.tolist())))

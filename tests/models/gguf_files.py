"""GGUF files for tests, written with the gguf package from a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
Arrays = Mapping[str, npt.NDArray[np.float32]]


def gguf_name(name: str) -> str:
    """llama.cpp's name for a Hugging Face tensor."""
    stem, kind = name.rsplit(".", 1)
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_LAYER[rest]}.{kind}"


def interleave(weights: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """What llama.cpp's converter does to q and k of llama models."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(
    path: Path,
    config: Any,
    state: Arrays,
    arch: str,
    *,
    quantization: str = "F32",
    tokenizer: Mapping[str, Any] | None = None,
    extra: Mapping[str, npt.NDArray[np.float32]] | None = None,
    raw: Mapping[str, tuple[npt.NDArray[np.uint8], str]] | None = None,
    scaling: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model; `config` is transformers' config, `raw` replaces tensors by quantised bytes of a named type."""
    writer = GGUFWriter(path, arch)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None)
    if head_dim is not None:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    for key, value in (scaling or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        if isinstance(value, int):
            add = writer.add_uint32
        add(f"{arch}.rope.scaling.{key}", value)
    for key, value in (tokenizer or {}).items():
        _add(writer, f"tokenizer.{key}", value)
    for name, array in state.items():
        if arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            array = interleave(array, heads)
        _add_tensor(writer, gguf_name(name), array, quantization, raw or {})
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tensor(writer: GGUFWriter, name: str, array: npt.NDArray[np.float32], quantization: str, raw: Any) -> None:
    if name in raw:
        data, kind = raw[name]
        writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[kind])
    elif array.ndim == 1 or quantization == "F32":
        writer.add_tensor(name, np.ascontiguousarray(array))
    else:
        kind = GGMLQuantizationType[quantization]
        writer.add_tensor(name, quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)

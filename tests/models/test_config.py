"""From config.json and ModelConfig to what is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.models.checkpoints import ARCHITECTURES, make_checkpoint
from transformers import AutoConfig

import vajra.models as models
from vajra.config import ModelConfig


def config_of(**changes: Any) -> dict[str, Any]:
    """A Llama 2 style config.json, in the old spelling of rope."""
    base = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
    }
    return {k: v for k, v in (base | changes).items() if v is not ...}


def resolve(folder: Path, config: dict[str, Any], device: str = "cpu", **model_config: Any) -> models.ResolvedModel:
    (folder / "config.json").write_text(json.dumps(config))
    options = {"load_format": "dummy", "dtype": "auto", **model_config}
    return models.resolve(ModelConfig(model=str(folder), **options), device=device)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("tie", [False, True])
def test_spec_is_what_transformers_reads(tmp_path: Path, arch: str, tie: bool) -> None:
    folder = make_checkpoint(tmp_path / "m", arch, tie_word_embeddings=tie, rms_norm_eps=1e-5)
    spec = models.resolve(ModelConfig(model=str(folder), dtype="auto")).spec
    config = AutoConfig.from_pretrained(folder)
    assert spec.architecture == config.architectures[0]
    assert (spec.vocab_size, spec.hidden_size) == (config.vocab_size, config.hidden_size)
    assert (spec.num_layers, spec.intermediate_size) == (config.num_hidden_layers, config.intermediate_size)
    assert (spec.num_heads, spec.num_kv_heads) == (config.num_attention_heads, config.num_key_value_heads)
    assert (spec.rms_norm_eps, spec.tie_embeddings) == (config.rms_norm_eps, config.tie_word_embeddings)
    assert (spec.max_model_len, spec.head_dim) == (config.max_position_embeddings, 16)
    assert (spec.eos_token_ids, spec.bos_token_id) == ((257,), 256)
    assert (spec.qkv_bias, spec.qk_norm) == (arch == "qwen2", arch == "qwen3")


@pytest.mark.parametrize(
    ("checkpoint", "asked", "device", "expected"),
    [
        ("bfloat16", "auto", "cpu", "bfloat16"),
        ("float16", "auto", "cpu", "float16"),
        ("float32", "auto", "cpu", "bfloat16"),
        ("float32", "auto", "cuda", "float16"),
        ("bfloat16", "auto", "cuda", "bfloat16"),
        ("bfloat16", "float32", "cpu", "float32"),
        ("float32", "float32", "cpu", "float32"),
        ("float32", "float16", "cpu", "float16"),
    ],
)
def test_dtype(tmp_path: Path, checkpoint: str, asked: str, device: str, expected: str) -> None:
    resolved = resolve(tmp_path, config_of(torch_dtype=checkpoint), device, dtype=asked, max_model_len=64)
    assert resolved.spec.dtype == expected
    says_so = any("float16 on a CPU is a storage format" in n for n in resolved.notices)
    assert says_so == (expected == "float16" and device == "cpu")


@pytest.mark.parametrize("checkpoint", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_int8_makes_auto_bfloat16(tmp_path: Path, checkpoint: str, device: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(torch_dtype=checkpoint)))
    config = ModelConfig(model=str(tmp_path), load_format="dummy", dtype="auto", max_model_len=64)
    resolved = models.resolve(config, device=device, quantization="int8")
    assert (resolved.spec.dtype, resolved.spec.quantization) == ("bfloat16", "int8")
    assert resolved.notices == ()


@pytest.mark.parametrize(
    ("dtype", "quantization", "problem"),
    [
        ("float32", "int8", r"int8 computes in bfloat16, but dtype is float32\. Set dtype to bfloat16 or auto"),
        ("float16", "int8", r"int8 computes in bfloat16, but dtype is float16\. Set dtype to bfloat16 or auto"),
        ("auto", "int4", r"quantization 'int4' is unknown; none and int8 are allowed"),
    ],
)
def test_quantization_that_does_not_fit(
    tmp_path: Path, dtype: Literal["float16", "float32", "auto"], quantization: str, problem: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    config = ModelConfig(model=str(tmp_path), load_format="dummy", dtype=dtype)
    with pytest.raises(models.ModelError, match=problem):
        models.resolve(config, quantization=quantization)


def test_missing_dtype_is_told(tmp_path: Path) -> None:
    resolved = resolve(tmp_path, config_of(torch_dtype=...), max_model_len=64)
    assert resolved.spec.dtype == "bfloat16"
    assert any("states no dtype" in n for n in resolved.notices)


def test_max_model_len(tmp_path: Path) -> None:
    lowered = resolve(tmp_path, config_of())
    assert lowered.max_model_len == 2048
    assert lowered.notices == ("max_model_len is lowered from the default 4096 to the model's 2048.",)
    assert resolve(tmp_path, config_of(), max_model_len=2048).max_model_len == 2048
    assert resolve(tmp_path, config_of(), max_model_len=100).notices == ()
    assert resolve(tmp_path, config_of(max_position_embeddings=8192)).max_model_len == 4096
    with pytest.raises(models.ModelError, match=r"max_model_len is 2049, but the model allows 2048 tokens"):
        resolve(tmp_path, config_of(), max_model_len=2049)


@pytest.mark.parametrize(
    ("scaling", "allowed"),
    [
        ({"type": "linear", "factor": 2.0}, 4096),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}, 8192),
        ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1, "high_freq_factor": 4}, 2048),
    ],
)
def test_scaled_length(tmp_path: Path, scaling: dict[str, Any], allowed: int) -> None:
    assert resolve(tmp_path, config_of(rope_scaling=scaling)).spec.max_model_len == allowed


def test_sliding_window_limits_the_context(tmp_path: Path) -> None:
    mistral = config_of(architectures=["MistralForCausalLM"], max_position_embeddings=32768, sliding_window=1024)
    resolved = resolve(tmp_path, mistral)
    assert resolved.max_model_len == 1024
    assert any("sliding window" in n for n in resolved.notices)
    with pytest.raises(models.ModelError, match=r"the model allows 1024 tokens \(sliding_window"):
        resolve(tmp_path, mistral, max_model_len=8192)
    assert resolve(tmp_path, mistral | {"sliding_window": None}, max_model_len=8192).max_model_len == 8192
    qwen = config_of(architectures=["Qwen2ForCausalLM"], sliding_window=512)
    assert resolve(tmp_path, qwen | {"use_sliding_window": False}).max_model_len == 2048
    assert resolve(tmp_path, qwen | {"use_sliding_window": True}).max_model_len == 512


def test_end_of_sequence_ids_of_both_files(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 2]}))
    assert resolve(tmp_path, config_of(eos_token_id=5)).spec.eos_token_ids == (7, 2, 5)


def test_override_num_layers(tmp_path: Path) -> None:
    assert resolve(tmp_path, config_of(), override_num_layers=2).spec.num_layers == 2
    with pytest.raises(models.ModelError, match=r"override_num_layers is 5; .* 1 to 4 is allowed"):
        resolve(tmp_path, config_of(), override_num_layers=5)


def test_content_key_follows_weights_and_spec(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "a", "llama")
    key = models.resolve(ModelConfig(model=str(folder), dtype="auto")).content_key
    assert key == models.resolve(ModelConfig(model=str(folder), dtype="auto")).content_key
    assert key != models.resolve(ModelConfig(model=str(folder), dtype="float32")).content_key
    fewer = ModelConfig(model=str(folder), dtype="auto", override_num_layers=1)
    assert key != models.resolve(fewer).content_key
    make_checkpoint(folder, "llama", seed=1)
    assert key != models.resolve(ModelConfig(model=str(folder), dtype="auto")).content_key
    dummy = ModelConfig(model=str(folder), dtype="auto", load_format="dummy")
    assert models.resolve(dummy).content_key is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture GPT2LMHeadModel is not supported. Supported are Llama"),
        ({"architectures": ...}, "architectures must be a list of one name"),
        ({"hidden_size": ...}, "hidden_size is None; it must be a positive integer"),
        ({"num_hidden_layers": "4"}, "num_hidden_layers is '4'"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "hidden_size 64 is not a multiple"),
        ({"num_key_value_heads": 3}, "not a multiple of num_key_value_heads 3"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"quantised \(gptq\)"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope scaling type 'dynamic'"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"rms_norm_eps": -1}, "rms_norm_eps is -1"),
        ({"eos_token_id": 320}, "eos_token_id is 320; token ids lie between 0 and 319"),
        ({"torch_dtype": "float8_e4m3fn"}, "dtype float8_e4m3fn is not supported"),
        ({"layer_types": ["linear_attention"]}, "layer_types has linear_attention"),
    ],
)
def test_refusals_name_file_and_field(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(models.ModelError, match=words) as e:
        resolve(tmp_path, config_of(**change))
    assert str(e.value).startswith(str(tmp_path / "config.json"))


def test_config_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(models.ModelError, match="must hold a JSON object"):
        models.resolve(ModelConfig(model=str(tmp_path), load_format="dummy"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(models.ModelError, match="cannot be read as JSON"):
        models.resolve(ModelConfig(model=str(tmp_path), load_format="dummy"))

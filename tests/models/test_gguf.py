"""GGUF files against the checkpoints they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from tests.models.checkpoints import ROPE_SCALINGS, load_checkpoint, make_checkpoint
from tests.models.gguf_files import interleave, write_gguf
from transformers import AutoModelForCausalLM

import vajra.models as models
from vajra.config import ModelConfig
from vajra.models.gguf_file import GGUFFile

SIZES: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}


def hugging_face(folder: Path) -> tuple[Any, dict[str, npt.NDArray[np.float32]]]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    return model.config, state


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tie", [False, True])
def test_equals_its_checkpoint(tmp_path: Path, arch: str, tie: bool) -> None:
    folder = make_checkpoint(tmp_path / "hf", arch, tie_word_embeddings=tie)
    config, state = hugging_face(folder)
    ours = load_checkpoint(write_gguf(tmp_path / "m.gguf", config, state, arch))
    theirs = models.resolve(ModelConfig(model=str(folder), dtype="float32", max_model_len=64)).spec
    names = [f for f in theirs.__dataclass_fields__ if f not in ("eos_token_ids", "bos_token_id", "rms_norm_eps")]
    assert {n: getattr(ours.spec, n) for n in names} == {n: getattr(theirs, n) for n in names}
    assert ours.spec.rms_norm_eps == pytest.approx(theirs.rms_norm_eps)
    assert set(ours.weights.names()) == set(state)
    for name in state:
        np.testing.assert_array_equal(ours.weights.tensor(name).array, state[name])


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_quantised(tmp_path: Path, kind: str) -> None:
    config, state = hugging_face(make_checkpoint(tmp_path / "hf", "llama", **SIZES))
    weights = load_checkpoint(write_gguf(tmp_path / "m.gguf", config, state, "llama", quantization=kind)).weights
    ggml = GGMLQuantizationType[kind]
    for name, array in state.items():
        expected = array
        if array.ndim == 2:
            expected = dequantize(quantize(array, ggml), ggml)
        np.testing.assert_array_equal(weights.tensor(name).array, expected, err_msg=name)
        assert np.abs(expected - array).max() < 0.1  # and it is the same weight still


@pytest.mark.parametrize(("kind", "block_bytes", "scales"), [("Q4_K", 144, (0, 2)), ("Q6_K", 210, (208,))])
def test_k_quants(tmp_path: Path, kind: str, block_bytes: int, scales: tuple[int, ...]) -> None:
    config, state = hugging_face(make_checkpoint(tmp_path / "hf", "llama", **SIZES))
    data = np.random.default_rng(0).integers(0, 256, (256, block_bytes), np.uint8)
    for at in scales:  # half-precision scales, finite
        data[:, at : at + 2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    raw = {"blk.0.attn_q.weight": (data, kind), "blk.1.ffn_down.weight": (data, kind)}
    weights = load_checkpoint(write_gguf(tmp_path / "m.gguf", config, state, "llama", raw=raw)).weights
    values = dequantize(data, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(weights.tensor("model.layers.1.mlp.down_proj.weight").array, values)
    q = weights.tensor("model.layers.0.self_attn.q_proj.weight").array
    np.testing.assert_array_equal(interleave(q, config.num_attention_heads), values)


def test_other_types_are_refused_by_name(tmp_path: Path) -> None:
    config, state = hugging_face(make_checkpoint(tmp_path / "hf", "llama", **SIZES))
    data = np.zeros((256, 176), np.uint8)
    path = write_gguf(tmp_path / "m.gguf", config, state, "llama", raw={"blk.0.attn_q.weight": (data, "Q5_K")})
    with pytest.raises(models.ModelError, match=r"m.gguf: tensor blk.0.attn_q.weight is of type Q5_K"):
        load_checkpoint(path)


def test_llama3_and_yarn_scaling(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "hf", "llama", rope="llama3")
    config, state = hugging_face(folder)
    expected = models.resolve(ModelConfig(model=str(folder), dtype="float32", max_model_len=64)).spec.rope
    plain = write_gguf(tmp_path / "plain.gguf", config, state, "llama")
    unscaled = np.array(load_checkpoint(plain).spec.rope.inv_freq, np.float32)
    factors: npt.NDArray[np.float32] = (unscaled / np.array(expected.inv_freq, np.float32)).astype(np.float32)
    path = write_gguf(tmp_path / "m.gguf", config, state, "llama", extra={"rope_freqs.weight": factors})
    np.testing.assert_allclose(load_checkpoint(path).spec.rope.inv_freq, expected.inv_freq, rtol=2e-7)

    folder = make_checkpoint(tmp_path / "yarn", "qwen2", rope="yarn")
    config, state = hugging_face(folder)
    yarn = ROPE_SCALINGS["yarn"]
    scaling = {"type": "yarn", "factor": yarn["factor"], "original_context_length": 64}
    path = write_gguf(tmp_path / "y.gguf", config, state, "qwen2", scaling=scaling)
    assert load_checkpoint(path).spec.rope == load_checkpoint(folder).spec.rope


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    sizes: dict[str, Any] = {
        "vocab_size": 4,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "head_dim": 2,
    }
    ids: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
    config, state = hugging_face(make_checkpoint(folder / "hf", "llama", tokenizer=False, **sizes, **ids))
    tokenizer = {"ggml.model": "gpt2", "ggml.tokens": ["a", "b", "c", "d"], "ggml.token_type": [1, 1, 1, 3]}
    return write_gguf(folder / "tiny.gguf", config, state, "llama", tokenizer=tokenizer)


def test_every_truncation_is_noticed(tiny: Path, tmp_path: Path) -> None:
    content = tiny.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(0, len(content) - 32, 7):  # the last tensor is padded
        path.write_bytes(content[:length])
        with pytest.raises(models.ModelError, match=r"cut\.gguf"):
            load_checkpoint(path)


@given(data=st.data())
def test_damage_never_escapes(tiny: Path, data: st.DataObject) -> None:
    content = bytearray(tiny.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 1500))] = data.draw(st.integers(0, 255))
    path = tiny.parent / "damaged.gguf"
    path.write_bytes(content)
    named = True
    try:
        weights = load_checkpoint(path).weights
        for name in weights.names():
            weights.tensor(name)
    except models.ModelError as e:
        named = "damaged.gguf" in str(e) or "max_model_len" in str(e)
    assert named


def test_not_gguf_and_split(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(models.ModelError, match="is not a GGUF file"):
        GGUFFile(tmp_path / "x.gguf")
    (tmp_path / "x.gguf").write_bytes(b"")
    with pytest.raises(models.ModelError, match="cannot be opened"):
        GGUFFile(tmp_path / "x.gguf")


def test_other_architecture(tmp_path: Path) -> None:
    config, state = hugging_face(make_checkpoint(tmp_path / "hf", "llama"))
    with pytest.raises(models.ModelError, match="GGUF architecture 'gemma3' is not supported"):
        load_checkpoint(write_gguf(tmp_path / "m.gguf", config, state, "gemma3"))


def test_embedded_model_equals_the_packages_own_reading(smollm2: models.ResolvedModel) -> None:
    """A matrix of each kind, by the gguf package's own reader of quantised data."""
    weights = models.load_resolved(smollm2).weights
    file = GGUFFile(smollm2.path)
    for ours, theirs in (
        ("model.layers.7.mlp.gate_proj.weight", "blk.7.ffn_gate.weight"),
        ("model.layers.29.self_attn.v_proj.weight", "blk.29.attn_v.weight"),
        ("model.norm.weight", "output_norm.weight"),
    ):
        entry = file.tensors[theirs]
        rows = file.data(entry).reshape(*entry.shape[:-1], -1)
        expected = dequantize(rows, GGMLQuantizationType(entry.ggml_type))
        tensor = weights.tensor(ours)
        if tensor.dtype == "bfloat16":
            from vajra.models.tensor import bfloat16_bits

            expected = bfloat16_bits(expected)
        np.testing.assert_array_equal(tensor.array, expected)
    assert sum(weights.tensor(n).array.size for n in weights.names()) == 134_515_008

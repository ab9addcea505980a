"""Weights of every format against what transformers holds, and files that are damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.models.checkpoints import ARCHITECTURES, load_checkpoint, make_checkpoint
from transformers import AutoModelForCausalLM

import vajra.models as models
from vajra.models.safetensors_weights import SafetensorsFile
from vajra.models.tensor import Tensor, bfloat16_bits, convert, to_float32


def bits(tensor: torch.Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("fmt", "shards"), [("safetensors", 1), ("safetensors", 3), ("pt", 1), ("pt", 3)])
@pytest.mark.parametrize("tie", [False, True])
def test_every_tensor_equals_transformers(tmp_path: Path, arch: str, fmt: str, shards: int, tie: bool) -> None:
    folder = make_checkpoint(tmp_path / "m", arch, fmt=fmt, shards=shards, tie_word_embeddings=tie)
    weights = load_checkpoint(folder).weights
    state = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert set(weights.names()) == set(state) - ({"lm_head.weight"} if tie else set())
    for name in weights.names():
        tensor = weights.tensor(name)
        assert (tensor.name, tensor.dtype) == (name, "float32")
        np.testing.assert_array_equal(tensor.array, state[name].numpy())


@pytest.mark.parametrize("fmt", ["safetensors", "pt"])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", ["float32", "float16", "bfloat16"])
def test_dtypes_round_as_torch_does(tmp_path: Path, fmt: str, stored: str, asked: str) -> None:
    folder = make_checkpoint(tmp_path / "m", "qwen2", dtype=stored, fmt=fmt, num_hidden_layers=1)
    weights = load_checkpoint(folder, dtype=asked).weights
    state = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, stored)).state_dict()
    for name in weights.names():
        tensor = weights.tensor(name)
        assert tensor.dtype == (asked if tensor.array.ndim == 2 else "float32")
        np.testing.assert_array_equal(tensor.array, bits(state[name].to(getattr(torch, tensor.dtype))))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64))
def test_bfloat16_rounding(patterns: list[int]) -> None:
    values = np.array(patterns, np.uint32).view(np.float32)
    ours = torch.from_numpy(bfloat16_bits(values)).view(torch.bfloat16).float()
    assert torch.equal(ours.nan_to_num(1.5), torch.from_numpy(values).bfloat16().float().nan_to_num(1.5))
    finite = Tensor("x", "bfloat16", bfloat16_bits(values))
    np.testing.assert_array_equal(to_float32(finite), ours.numpy())


def test_float16_overflow_is_refused() -> None:
    tensor = Tensor("model.norm.weight", "float32", np.array([1.0, 70000.0], np.float32))
    with pytest.raises(models.ModelError, match=r"f: tensor model.norm.weight has values beyond float16's range"):
        convert(tensor, "float16", where="f")
    infinite = Tensor("x", "float32", np.array([np.inf], np.float32))
    assert np.isinf(convert(infinite, "float16", where="f").array[0])


def test_float32_weights_are_views_of_the_file(tmp_path: Path) -> None:
    array = load_checkpoint(make_checkpoint(tmp_path / "m", "llama")).weights.tensor("model.embed_tokens.weight").array
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_override_num_layers_leaves_layers_out(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", num_hidden_layers=3)
    weights = load_checkpoint(folder, override_num_layers=1).weights
    assert [n for n in weights.names() if n.startswith("model.layers.")][-1].startswith("model.layers.0.")


def test_dummy_is_a_function_of_seed_and_name(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "qwen3")
    first, again = (
        load_checkpoint(folder, load_format="dummy", seed=3),
        load_checkpoint(folder, load_format="dummy", seed=3),
    )
    other = load_checkpoint(folder, load_format="dummy", seed=4)
    assert first.content_key is None
    shapes = {n: load_checkpoint(folder).weights.tensor(n).array.shape for n in first.weights.names()}
    for name in reversed(first.weights.names()):
        a = first.weights.tensor(name).array
        assert a.shape == shapes[name]
        np.testing.assert_array_equal(a, again.weights.tensor(name).array)
        if name.endswith("norm.weight"):
            np.testing.assert_array_equal(a, 1)
        else:
            assert not np.array_equal(a, other.weights.tensor(name).array)
            assert a.std() == pytest.approx(0.02, rel=0.1)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def change_shape(state: dict[str, torch.Tensor]) -> None:
    state["model.layers.1.mlp.up_proj.weight"] = torch.zeros(95, 64)


def change_dtype(state: dict[str, torch.Tensor]) -> None:
    state["model.norm.weight"] = torch.zeros(64, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("model.layers.1.self_attn.o_proj.weight"), "first is model.layers.1.self_attn.o_proj.weight"),
        (lambda s: s.pop("lm_head.weight"), "lm_head.weight"),
        (change_shape, r"up_proj.weight has shape \[95, 64\], but the configuration asks for \[96, 64\]"),
        (change_dtype, "tensor model.norm.weight has dtype F64, which is not supported"),
        (lambda s: s.update({"model.layers.0.self_attn.o_proj.bias": torch.zeros(64)}), "no place in Llama.*o_proj.b"),
        (lambda s: s.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(2, 2)}), "no place in Llama"),
    ],
)
def test_wrong_tensors_are_named(tmp_path: Path, change: Callable[[Any], None], words: str) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama")
    rewrite(folder, change)
    with pytest.raises(models.ModelError, match=words) as e:
        load_checkpoint(folder)
    assert str(folder) in str(e.value)


def test_truncated_safetensors_names_file_and_tensor(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(models.ModelError, match=r"model.safetensors: tensor model.* ends at byte .* cut short"):
        load_checkpoint(folder)


SMALL = {"a": torch.zeros(4, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


@given(data=st.data())
def test_damaged_safetensors_never_escape(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "small.safetensors"
    save_file(SMALL, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    named = True
    try:
        file = SafetensorsFile(path)
        for name in file.entries:
            file.tensor(name)
    except models.ModelError as e:
        named = str(path) in str(e)
    assert named


def test_header_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(models.ModelError, match="header is cut short"):
        SafetensorsFile(tmp_path / "x.safetensors")


def test_missing_shard(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", shards=3)
    next(folder.glob("model-00002-*")).unlink()
    with pytest.raises(models.ModelError, match=r"model-00002-of-00004\.safetensors cannot be read"):
        load_checkpoint(folder)


def test_index_that_points_elsewhere(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", shards=3)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.norm.weight"] = index["weight_map"]["model.embed_tokens.weight"]
    path.write_text(json.dumps(index))
    with pytest.raises(models.ModelError, match=r"tensor model.norm.weight is not in it, though the index says so"):
        load_checkpoint(folder)
    index["weight_map"]["model.norm.weight"] = "../secret.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(models.ModelError, match="is not a file of this folder"):
        load_checkpoint(folder)


def test_pt_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    folder = make_checkpoint(tmp_path / "m", "llama", fmt="pt")
    torch.save({"model.norm.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(models.ModelError, match=r"pytorch_model.bin cannot be loaded"):
        load_checkpoint(folder)
    assert not (tmp_path / "ran").exists()


def test_truncated_pt(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", fmt="pt")
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(models.ModelError, match=r"pytorch_model.bin cannot be loaded"):
        load_checkpoint(folder)
    torch.save([1], path)
    with pytest.raises(models.ModelError, match="must hold a dict from names to tensors"):
        load_checkpoint(folder)

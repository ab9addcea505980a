"""Weights: streaming, the packed cache, and models that cannot be run."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS
from tests.engine.driver import Request, Schedule, run
from tests.engine.models import LLAMA, QWEN2, QWEN3, RandomWeights, rope

from vajra.engine import Engine, SamplingParams, create_engine, kv_block_bytes
from vajra.engine._native import ModelConfig
from vajra.models.spec import ModelSpec
from vajra.models.tensor import Tensor


@pytest.fixture(autouse=True)
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path))
    return tmp_path / "packed"


def tokens(engine: Engine) -> list[int]:
    work = [Request([5, 6, 7], SamplingParams(seed=1, max_tokens=8))]
    [trace] = run(engine, work, Schedule(), OPTIONS.num_blocks, OPTIONS.max_batch_tokens)
    engine.close()
    return trace.ids


@pytest.mark.parametrize("spec", [LLAMA, QWEN2, QWEN3], ids=lambda s: s.architecture)
def test_cached_weights_give_the_same_bits_and_are_not_read_again(spec: ModelSpec, packed: Path) -> None:
    spec = replace(spec, dtype="bfloat16")
    plain = create_engine(spec, RandomWeights(spec), OPTIONS)
    first, second = RandomWeights(spec), RandomWeights(spec)
    packing = create_engine(spec, first, OPTIONS, cache_key="k1")
    mapped = create_engine(spec, second, OPTIONS, cache_key="k1")
    assert sorted(first.asked) == sorted(first.names())
    assert second.asked == []
    assert [p.suffix for p in sorted(packed.iterdir())] == [".bin", ".lock"]
    assert packing.fingerprint == mapped.fingerprint
    assert tokens(plain) == tokens(packing) == tokens(mapped)


def test_another_key_or_dtype_is_another_file(packed: Path) -> None:
    for dtype, key in (("bfloat16", "a"), ("bfloat16", "b"), ("float16", "a")):
        spec = replace(LLAMA, dtype=dtype)
        create_engine(spec, RandomWeights(spec), OPTIONS, cache_key=key).close()
    assert len(list(packed.glob("*.bin"))) == 3


@pytest.mark.parametrize("damage", ["truncate", "magic", "descriptor", "empty"])
def test_a_damaged_cache_is_packed_again(damage: str, packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    want = tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k"))
    [path] = packed.glob("*.bin")
    good = path.read_bytes()
    bad = {"truncate": good[:-100], "magic": b"x" + good[1:], "descriptor": good[:40] + b"?" + good[41:], "empty": b""}
    path.write_bytes(bad[damage])
    source = RandomWeights(LLAMA)
    with caplog.at_level(logging.WARNING):
        assert tokens(create_engine(LLAMA, source, OPTIONS, cache_key="k")) == want
    assert "is no usable packed model" in caplog.text
    assert source.asked
    assert path.read_bytes() == good


def test_the_longest_unused_makes_room(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(key: str) -> Path:
        before = set(packed.glob("*.bin"))
        engines.append(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key=key))
        return next(iter(set(packed.glob("*.bin")) - before), packed)

    engines: list[Engine] = []
    first, second = load("a"), load("b")
    (packed / f"{second.stem}.1.part").touch()
    for age, path in enumerate((second, first)):  # as if made long ago, b after a
        os.utime(path, (age, age))
    load("a")
    monkeypatch.setattr("vajra.engine.packed.KEEP_BYTES", 2 * first.stat().st_size)
    third = load("c")
    assert set(packed.glob("*.bin")) == {first, third}
    load("b")
    assert set(packed.iterdir()) == {third, second, *packed.glob("*.lock")}
    assert tokens(engines[0]) == tokens(engines[1])  # whose files are gone


def test_a_cache_that_cannot_be_written_costs_a_warning(packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    packed.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert len(tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k"))) == 8
    assert "packed weights are not cached" in caplog.text


def test_a_load_that_fails_leaves_no_file(packed: Path) -> None:
    class Broken(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            if name == "model.norm.weight":
                raise RuntimeError("cannot read it")
            return super().tensor(name)

    with pytest.raises(RuntimeError, match="cannot read it"):
        create_engine(LLAMA, Broken(LLAMA), OPTIONS, cache_key="k")
    assert [p.suffix for p in packed.iterdir()] == [".lock"]


def test_a_tensor_of_the_wrong_shape_is_named() -> None:
    class Wrong(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            t = super().tensor(name)
            return Tensor(name, t.dtype, t.array[:-1]) if name.endswith("1.mlp.up_proj.weight") else t

    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight has shape \[111, 64\].* \[112, 64\]"):
        create_engine(LLAMA, Wrong(LLAMA), OPTIONS)


def test_fingerprints_tell_weights_and_dtypes_apart() -> None:
    class Other(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            t = super().tensor(name)
            return Tensor(name, t.dtype, np.negative(t.array)) if name == "model.norm.weight" else t

    half = replace(LLAMA, dtype="bfloat16")
    made = [
        create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS),
        create_engine(LLAMA, RandomWeights(LLAMA), replace(OPTIONS, block_size=8, num_threads=1)),
        create_engine(LLAMA, Other(LLAMA), OPTIONS),
        create_engine(half, RandomWeights(half), OPTIONS),
    ]
    prints = [e.fingerprint for e in made]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_kv_block_bytes() -> None:
    spec = replace(LLAMA, dtype="bfloat16")
    assert kv_block_bytes(spec, 16) == 2 * 2 * 2 * 16 * 16 * 2
    for s in (spec, LLAMA, replace(QWEN3, dtype="float16")):
        assert kv_block_bytes(s, 32) == ModelConfig.from_spec(s).kv_block_bytes(32)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"head_dim": 20, "rope": rope(20)}, {}, "head_dim 20 is not supported"),
        ({"num_kv_heads": 3}, {}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"rope": rope(32)}, {}, "rope.inv_freq has 16 values"),
        ({"dtype": "int8"}, {}, "dtype is 'int8'; allowed"),
        ({}, {"block_size": 12}, "block_size is 12; allowed: 8, 16, 32, 64, 128"),
        ({}, {"num_blocks": 0}, "num_blocks is 0"),
        ({}, {"num_threads": 0}, "num_threads is 0"),
        ({}, {"device": "cuda"}, "device is 'cuda'"),
    ],
)
def test_what_cannot_run_is_refused(changes: dict[str, Any], options: dict[str, Any], message: str) -> None:
    spec = replace(LLAMA, **changes)
    with pytest.raises(ValueError, match=message):
        create_engine(spec, RandomWeights(LLAMA), replace(OPTIONS, **options))


def test_an_unknown_isa_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAJRA_ISA", "sse9")
    with pytest.raises(ValueError, match="sse9"):
        create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS)

"""Weights: streaming, the packed cache, and models that cannot be run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.conftest import OPTIONS
from tests.engine.driver import Request, Schedule, run
from tests.engine.models import LLAMA, QWEN2, QWEN3, RandomWeights, int8, rope

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
    create_engine(int8(LLAMA), RandomWeights(int8(LLAMA)), OPTIONS, cache_key="a").close()
    files = sorted(packed.glob("*.bin"), key=lambda path: path.stat().st_size)
    assert len(files) == 4
    assert files[0].stat().st_size < 0.7 * files[1].stat().st_size  # int8 beside 16 bits


def check_packed_again(
    path: Path, bad: bytes, want: list[int], complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Damages a packed file: the engine complains, asks the source again, gives the same tokens and mends the file."""
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bad)
    source = RandomWeights(LLAMA)
    with caplog.at_level(logging.WARNING):
        assert tokens(create_engine(LLAMA, source, OPTIONS, cache_key="k")) == want
    assert complaint in caplog.text
    assert source.asked
    assert path.read_bytes() == good


@pytest.mark.parametrize("damage", ["truncate", "magic", "descriptor", "empty"])
def test_a_damaged_cache_is_packed_again(damage: str, packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    want = tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k"))
    [path] = packed.glob("*.bin")
    good = path.read_bytes()
    bad = {"truncate": good[:-100], "magic": b"x" + good[1:], "descriptor": good[:40] + b"?" + good[41:], "empty": b""}
    check_packed_again(path, bad[damage], want, "is no usable packed model", caplog)


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_no_flipped_bit_is_served(where: float, packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    want = tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k"))
    [path] = packed.glob("*.bin")
    good = path.read_bytes()
    bad = bytearray(good)
    bad[4096 + int(where * (len(good) - 4097))] ^= 1  # behind the header's page
    check_packed_again(path, bytes(bad), want, "is damaged, its checksum is not the one in its name", caplog)


def test_a_file_is_not_writable_and_named_by_its_bits(packed: Path) -> None:
    class Other(RandomWeights):
        def tensor(self, name: str) -> Tensor:
            t = super().tensor(name)
            return Tensor(name, t.dtype, np.negative(t.array))

    create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k").close()
    [path] = packed.glob("*.bin")
    assert path.stat().st_mode & 0o222 == 0
    path.rename(packed / "set-aside")
    create_engine(LLAMA, Other(LLAMA), OPTIONS, cache_key="k").close()
    [other] = packed.glob("*.bin")
    assert other.stem.split("-")[0] == path.stem.split("-")[0]
    assert other.stem.split("-")[1] != path.stem.split("-")[1]


def in_process(program: str) -> subprocess.Popen[str]:
    """A process that may load LLAMA with key "k"; it says `begun` in the middle of packing."""
    prelude = """
import sys
from tests.engine.conftest import OPTIONS
from tests.engine.models import LLAMA, RandomWeights
from vajra.engine import create_engine

class Slow(RandomWeights):
    def tensor(self, name):
        if len(self.asked) == 5:
            print("begun", flush=True)
            sys.stdin.readline()
        return super().tensor(name)

source = Slow(LLAMA)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])}
    return subprocess.Popen(
        [sys.executable, "-c", prelude + program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


LOAD = """
print("loading", flush=True)
create_engine(LLAMA, source, OPTIONS, cache_key="k").close()
print(len(source.asked))
"""


def test_a_process_that_is_killed_while_it_packs_leaves_nothing_that_is_served(packed: Path) -> None:
    with in_process(LOAD) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["loading\n", "begun\n"]
        process.kill()
    assert {p.suffix for p in packed.iterdir()} == {".part", ".lock"}
    want = tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS))
    assert tokens(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key="k")) == want
    assert sorted(p.suffix for p in packed.iterdir()) == [".bin", ".lock"]


def test_of_processes_that_load_at_once_one_packs(packed: Path) -> None:
    with in_process(LOAD) as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _ in range(2)] == ["loading\n", "begun\n"]
        with in_process(LOAD) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "loading\n"
            output, _ = first.communicate("go\n")
            assert output == f"{len(RandomWeights(LLAMA).names())}\n"
            output, _ = second.communicate("go\n")
            assert output == "0\n", "the second waited for the first, and read nothing itself"
    assert sorted(p.suffix for p in packed.iterdir()) == [".bin", ".lock"]


def test_the_longest_unused_makes_room(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(key: str) -> Path:
        before = set(packed.glob("*.bin"))
        engines.append(create_engine(LLAMA, RandomWeights(LLAMA), OPTIONS, cache_key=key))
        return next(iter(set(packed.glob("*.bin")) - before), packed)

    engines: list[Engine] = []
    first, second = load("a"), load("b")
    (packed / f"{second.stem.split('-')[0]}.1.part").touch()
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
        create_engine(int8(LLAMA), RandomWeights(int8(LLAMA)), OPTIONS),
    ]
    prints = [e.fingerprint for e in made]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


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
        ({"quantization": "int4"}, {}, "quantization is 'int4'; allowed: none, int8"),
        ({"quantization": "int8"}, {}, "int8 multiplies in bfloat16"),
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


def test_the_torch_engine_refuses_int8() -> None:
    with pytest.raises(ValueError, match="the torch engine has none"):
        create_engine(int8(LLAMA), RandomWeights(int8(LLAMA)), OPTIONS, native=False)

"""A folder of any format, served whole: text in, and out the tokens that transformers' own generate makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from tests.models.checkpoints import ARCHITECTURES, make_checkpoint
from tests.models.corpus import CORPUS
from tests.models.gguf_files import write_gguf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM

from vajra.client import LLM, SamplingParams

PROMPTS = ["The quick brown fox", "def f(x: int) -> int:\n    return", "Größe naïve café, 3.14159", "日本語のテキスト"]
NEW_TOKENS = 24
VOCAB = 640
SIZES: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": 128, "intermediate_size": 128, "head_dim": 32}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Byte-level BPE trained on the corpus, as Llama 3 and Qwen have it."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    return trained


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed weights of test models stay out of the user's cache."""
    monkeypatch.setenv("VAJRA_CACHE", str(tmp_path / "cache"))


def save(folder: Path, arch: str, tokenizer: Tokenizer, **options: Any) -> Path:
    make_checkpoint(folder, arch, tokenizer=False, bos_token_id=0, eos_token_id=1, **SIZES, **options)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def expected(model: Any, tokenizer: Tokenizer) -> list[list[int]]:
    """Greedy tokens of transformers, in float32, one prompt at a time."""
    made = []
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        with torch.inference_mode():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=1
            )
        made.append(out[0, ids.shape[1] :].tolist())
    return made


def check_served(model: Path, tokens: list[list[int]]) -> None:
    assert len({token for sequence in tokens for token in sequence}) > 8, "a model that repeats itself shows nothing"
    with LLM(str(model), dtype="float32", max_model_len=128) as llm:
        results = llm.generate(PROMPTS, SamplingParams(temperature=0, max_tokens=NEW_TOKENS), progress_bar=False)
    assert [list(result.token_ids) for result in results] == tokens


def serve_folder(
    tmp_path: Path, arch: str, tokenizer: Tokenizer, fmt: str, shards: int, rename: str | None = None, **options: Any
) -> None:
    folder = save(tmp_path / "model", arch, tokenizer, fmt=fmt, shards=shards, **options)
    tokens = expected(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), tokenizer)
    assert len(list(folder.glob("*.safetensors" if fmt == "safetensors" else "pytorch_model*.bin"))) >= shards
    if rename is not None:
        (folder / "pytorch_model.bin").rename(folder / rename)
    check_served(folder, tokens)


def serve_gguf(tmp_path: Path, arch: str, tokenizer: Tokenizer, quantization: str, *, embedded: bool) -> None:
    """`embedded`: the tokenizer lies in the GGUF file, not beside it."""
    source = save(tmp_path / "hf", arch, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    folder = tmp_path / "gguf"
    folder.mkdir()
    spec = json.loads(tokenizer.to_str())["model"]
    meta = {
        "ggml.model": "gpt2",
        "ggml.pre": "gpt-2",
        "ggml.tokens": list(spec["vocab"]),
        "ggml.merges": [" ".join(merge) for merge in spec["merges"]],
        "ggml.token_type": [3, 3] + [1] * (len(spec["vocab"]) - 2),
        "ggml.bos_token_id": 0,
        "ggml.eos_token_id": 1,
        "ggml.add_bos_token": False,
    }
    write_gguf(folder / "model.gguf", model.config, state, arch, quantization=quantization, tokenizer=meta)
    if not embedded:
        (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    kind = GGMLQuantizationType[quantization]
    with torch.no_grad():  # transformers runs what the file holds, not what it was made from
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.from_numpy(dequantize(quantize(parameter.numpy(), kind), kind)))
    check_served(folder, expected(model, tokenizer))


Serve = Callable[[Path, Tokenizer], None]
QUICK: dict[str, Serve] = {
    "llama, safetensors in shards": lambda path, t: serve_folder(path, "llama", t, "safetensors", 3),
    "mistral, .pt": lambda path, t: serve_folder(path, "mistral", t, "pt", 1, rename="model.pt"),
    "qwen2, pytorch_model.bin in shards": lambda path, t: serve_folder(path, "qwen2", t, "pt", 3),
    "qwen3, GGUF F16": lambda path, t: serve_gguf(path, "qwen3", t, "F16", embedded=True),
    "llama, GGUF Q8_0": lambda path, t: serve_gguf(path, "llama", t, "Q8_0", embedded=False),
}


@pytest.mark.parametrize("name", QUICK)
def test_formats(name: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    QUICK[name](tmp_path, tokenizer)


def test_int8_weights(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """No oracle has their bits: an answer is that of the prompt alone, in every start, and names what made it."""
    folder = save(tmp_path / "model", "llama", tokenizer)
    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)
    fingerprints, answers = [], []
    for quantization in ["int8", "int8", "none"]:
        with LLM(str(folder), dtype="bfloat16", quantization=quantization, max_model_len=128) as llm:
            results = llm.generate(PROMPTS, greedy, progress_bar=False)
            alone = [llm.generate(prompt, greedy, progress_bar=False)[0] for prompt in PROMPTS]
            fingerprints.append(llm.model.fingerprint)
            assert llm.model.dtype == "bfloat16"
        answers.append([result.token_ids for result in results])
        assert answers[-1] == [result.token_ids for result in alone]
        assert f" quantization={quantization} " in fingerprints[-1]
    assert len({token for sequence in answers[0] for token in sequence}) > 8
    assert answers[0] == answers[1]  # packed, then mapped from the cache
    assert fingerprints[0] == fingerprints[1]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize(("fmt", "shards"), [("safetensors", 1), ("safetensors", 3), ("pt", 1), ("pt", 3)])
def test_every_architecture_in_every_folder(
    arch: str, tie: bool, fmt: str, shards: int, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    serve_folder(tmp_path, arch, tokenizer, fmt, shards, tie_word_embeddings=tie)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])  # GGUF calls Mistral llama
@pytest.mark.parametrize("quantization", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("embedded", [True, False])
def test_every_architecture_in_gguf(
    arch: str, quantization: str, embedded: bool, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    serve_gguf(tmp_path, arch, tokenizer, quantization, embedded=embedded)

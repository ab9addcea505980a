"""Tokenizers from GGUF metadata, against transformers and the definition of SentencePiece's BPE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.checkpoints import make_checkpoint
from tests.models.corpus import CORPUS, NUMERALS
from tests.models.gguf_files import write_gguf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, Qwen2Tokenizer

import vajra.models
from vajra.config import ModelConfig
from vajra.models import ModelError

texts = st.text() | st.lists(st.sampled_from(CORPUS + NUMERALS), max_size=3).map(" ".join)


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a GGUF model with the given tokenizer metadata; returns its resolved model."""
    folder = tmp_path_factory.mktemp("gguf")
    state = AutoModelForCausalLM.from_pretrained(
        make_checkpoint(folder / "hf", "llama", num_hidden_layers=1, vocab_size=2048)
    )
    arrays = {n: t.numpy() for n, t in state.state_dict().items()}
    count = iter(range(1000))

    def make(tokenizer: dict[str, Any]) -> vajra.models.ResolvedModel:
        path = folder / f"{next(count)}.gguf"
        write_gguf(path, state.config, arrays, "llama", tokenizer=tokenizer)
        return vajra.models.resolve(ModelConfig(model=str(path), dtype="auto"))

    return make


def byte_level_parts() -> tuple[list[str], list[str], list[int]]:
    """Tokens, merges and types of a byte-level vocabulary trained on the corpus, with three control tokens."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    spec = json.loads(t.to_str())["model"]
    tokens = [*spec["vocab"], "<|bos|>", "<|eos|>", "<|user|>"]
    return tokens, [" ".join(m) for m in spec["merges"]], [1] * (len(tokens) - 3) + [3, 3, 4]


@pytest.fixture(scope="module")
def qwen2(write: Any) -> tuple[vajra.models.Tokenizer, Any]:
    tokens, merges, types = byte_level_parts()
    meta = {"ggml.model": "gpt2", "ggml.pre": "qwen2", "ggml.tokens": tokens, "ggml.merges": merges}
    ours = vajra.models.load_tokenizer(write(meta | {"ggml.token_type": types}))
    vocab = {t: i for i, t in enumerate(tokens)}
    pairs = [tuple(m.split(" ")) for m in merges]
    special = {"eos_token": "<|eos|>", "pad_token": "<|eos|>", "unk_token": "<|eos|>"}
    return ours, Qwen2Tokenizer(vocab=vocab, merges=pairs, **special)


@given(text=texts)
def test_qwen2(qwen2: tuple[vajra.models.Tokenizer, Any], text: str) -> None:
    ours, theirs = qwen2
    assert ours.encode(text) == theirs(text).input_ids


@pytest.mark.parametrize("text", CORPUS)
def test_llama3_splits_numbers_by_threes_and_adds_bos(write: Any, text: str) -> None:
    tokens, merges, types = byte_level_parts()
    meta = {"ggml.model": "gpt2", "ggml.pre": "llama-bpe", "ggml.tokens": tokens, "ggml.merges": merges}
    ids = {"ggml.token_type": types, "ggml.bos_token_id": len(tokens) - 3, "ggml.eos_token_id": len(tokens) - 2}
    tokenizer = vajra.models.load_tokenizer(write(meta | ids))
    encoded = tokenizer.encode(text)
    assert encoded[0] == len(tokens) - 3
    assert tokenizer.encode(text, add_special_tokens=False) == encoded[1:]
    assert tokenizer.decode(encoded) == text
    assert tokenizer.encode("<|user|>", add_special_tokens=False) == [len(tokens) - 1]


class SentencePieceBPE:
    """The definition: of all neighbours whose union is an entry, the best-scored merges first, leftmost of equals."""

    def __init__(self, tokens: list[str], scores: list[float]) -> None:
        self.ids, self.scores = {t: i for i, t in enumerate(tokens)}, scores

    def encode(self, text: str) -> list[int]:
        parts = list("▁" + text.replace(" ", "▁")) if text else []
        while True:
            joined = [(i, self.ids.get(parts[i] + parts[i + 1])) for i in range(len(parts) - 1)]
            best = min(((-self.scores[t], i) for i, t in joined if t is not None), default=None)
            if best is None:
                break
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        result = []
        for part in parts:
            result += [self.ids[part]] if part in self.ids else [self.ids[f"<0x{b:02X}>"] for b in part.encode()]
        return result


def sentencepiece_parts() -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and types as Llama 2's file has them: pieces in the order of their merges, letters last."""
    t = Tokenizer(models.BPE())
    corpus = ["▁" + text.replace(" ", "▁") for text in CORPUS]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=900, show_progress=False, max_token_length=10))
    pieces = sorted(json.loads(t.to_str())["model"]["vocab"].items(), key=lambda item: item[1])
    letters = [p for p, _ in pieces if len(p) == 1 and ord(p) < 0x3000]
    merged = [p for p, _ in pieces if len(p) > 1 and set(p) <= set(letters)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *merged, *letters]
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    return tokens, scores, [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)


@pytest.fixture(scope="module")
def llama(write: Any) -> tuple[vajra.models.Tokenizer, SentencePieceBPE]:
    tokens, scores, types = sentencepiece_parts()
    meta = {"ggml.model": "llama", "ggml.tokens": tokens, "ggml.scores": scores, "ggml.token_type": types}
    ids = {"ggml.bos_token_id": 1, "ggml.eos_token_id": 2, "ggml.unknown_token_id": 0}
    return vajra.models.load_tokenizer(write(meta | ids)), SentencePieceBPE(tokens, scores)


@given(text=texts)
def test_sentencepiece(llama: tuple[vajra.models.Tokenizer, SentencePieceBPE], text: str) -> None:
    ours, reference = llama
    assert ours.encode(text, add_special_tokens=False) == reference.encode(text)
    if "▁" not in text:
        assert ours.decode(ours.encode(text)) == text


def test_sentencepiece_adds_bos(llama: tuple[vajra.models.Tokenizer, SentencePieceBPE]) -> None:
    assert llama[0].encode("a")[0] == 1
    assert llama[0].decode([1]) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ggml.pre": "porcelain"}, "pre-tokenizer 'porcelain' is not supported, only smollm"),
        ({"ggml.model": "bert"}, "tokenizer model 'bert' is not supported"),
        ({"ggml.model": "llama"}, "tokenizer.ggml.scores is missing"),
        ({"ggml.merges": ["a zz"]}, "merge 'a zz' does not fit the vocabulary"),
        ({"ggml.token_type": [1]}, "differ in length"),
        ({"ggml.merges": ["a"]}, "merge 'a' does not fit the vocabulary"),
        ({"ggml.eos_token_id": 1000}, "eos_token has id 1000; the vocabulary has"),
    ],
)
def test_refusals(write: Any, change: dict[str, Any], words: str) -> None:
    tokens, merges, types = byte_level_parts()
    meta = {"ggml.model": "gpt2", "ggml.pre": "smollm", "ggml.tokens": tokens, "ggml.merges": merges}
    with pytest.raises(ModelError, match=words):
        vajra.models.load_tokenizer(write(meta | {"ggml.token_type": types} | change))


def test_file_without_vocabulary(write: Any) -> None:
    with pytest.raises(ModelError, match="holds no vocabulary"):
        vajra.models.load_tokenizer(write({}))


def test_decoder_of_the_library_agrees(llama: tuple[vajra.models.Tokenizer, SentencePieceBPE]) -> None:
    steps = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    for text in CORPUS:
        ids = llama[0].encode(text, add_special_tokens=False)
        tokens, _, _ = sentencepiece_parts()
        assert llama[0].decode(ids) == steps.decode([tokens[i] for i in ids])


def test_folder_with_gguf_and_tokenizer_json_uses_the_json(tmp_path: Path, write: Any) -> None:
    resolved = write({})
    (tmp_path / "model.gguf").write_bytes(resolved.path.read_bytes())
    make_checkpoint(tmp_path / "hf", "llama")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tmp_path / "hf" / name).read_bytes())
    found = vajra.models.resolve(ModelConfig(model=str(tmp_path / "model.gguf"), dtype="auto"))
    tokenizer = vajra.models.load_tokenizer(found)
    assert tokenizer.decode(tokenizer.encode("ok")) == "ok"

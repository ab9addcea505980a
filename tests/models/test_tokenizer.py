"""Encoding, decoding and streaming, against transformers and references of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from tests.models.checkpoints import make_checkpoint
from tests.models.corpus import CORPUS, NUMERALS
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2Tokenizer

import vajra.models
from vajra.config import ModelConfig
from vajra.models import ModelError
from vajra.models import Tokenizer as OurTokenizer
from vajra.models.gguf_file import GGUFFile
from vajra.models.piece_format import BYTE_LEVEL_ALPHABET

texts = st.text() | st.lists(st.sampled_from(CORPUS + NUMERALS), max_size=3).map(" ".join)


BYTE_LETTERS = {b: c for c, b in BYTE_LEVEL_ALPHABET.items()}


class ReferenceBPE:
    """SmolLM2's encoding from the definition: split numerals singly, then words as GPT-2, then merge by rank."""

    WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

    def __init__(self, file: GGUFFile) -> None:
        self.ids = {t: i for i, t in enumerate(file.metadata["tokenizer.ggml.tokens"])}
        merges = file.metadata["tokenizer.ggml.merges"]
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(merges)}

    def encode(self, text: str) -> list[int]:
        ids = []
        for part in regex.split(r"(\p{N})", text):
            for word in self.WORDS.findall(part):
                letters = [BYTE_LETTERS[b] for b in word.encode()]
                # Its vocabulary lacks a few bytes, and has nothing for the unknown: they fall out.
                ids += [self.ids[p] for p in self.merge([c for c in letters if c in self.ids])]
        return ids

    def merge(self, parts: list[str]) -> list[str]:
        while len(parts) > 1:
            rank, at = min((self.ranks.get((a, b), 1 << 30), i) for i, (a, b) in enumerate(pairwise(parts)))
            if rank == 1 << 30:
                break
            parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]
        return parts


@pytest.fixture(scope="module")
def reference(smollm2: vajra.models.ResolvedModel) -> ReferenceBPE:
    return ReferenceBPE(GGUFFile(smollm2.path))


@pytest.fixture(scope="module")
def gpt2(smollm2: vajra.models.ResolvedModel) -> Any:
    """transformers' GPT-2 tokenizer over the same vocabulary and merges; it does not split digits by itself."""
    meta = GGUFFile(smollm2.path).metadata
    vocab = {t: i for i, t in enumerate(meta["tokenizer.ggml.tokens"])}
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    return GPT2Tokenizer(vocab=vocab, merges=merges, add_prefix_space=False)


@pytest.mark.parametrize("text", CORPUS + NUMERALS)
def test_smollm2_on_a_corpus(smollm2_tokenizer: OurTokenizer, reference: ReferenceBPE, gpt2: Any, text: str) -> None:
    ids = smollm2_tokenizer.encode(text)
    assert ids == reference.encode(text)
    parts = regex.split(r"(\p{N})", text)
    assert ids == [i for part in parts for i in gpt2(part, add_special_tokens=False).input_ids]
    assert smollm2_tokenizer.decode(ids) == text == gpt2.decode(ids, clean_up_tokenization_spaces=False)


@given(text=st.text())
def test_smollm2_on_any_text(smollm2_tokenizer: OurTokenizer, reference: ReferenceBPE, text: str) -> None:
    assert smollm2_tokenizer.encode(text) == reference.encode(text)


@pytest.mark.slow
def test_smollm2_against_transformers_reading_of_the_file(
    smollm2: vajra.models.ResolvedModel, smollm2_tokenizer: OurTokenizer
) -> None:
    """transformers' GGUF reader leaves the digit split out, which shows only beyond ASCII's digits."""
    theirs = AutoTokenizer.from_pretrained(smollm2.path.parent, gguf_file=smollm2.path.name)
    for text in CORPUS:
        if not regex.search(r"[^\P{N}0-9]", text):
            assert smollm2_tokenizer.encode(text) == theirs(text).input_ids


def test_smollm2_special_tokens_and_chat(smollm2_tokenizer: OurTokenizer) -> None:
    t = smollm2_tokenizer
    assert (t.vocab_size, t.eos_token_ids) == (49152, (2,))
    prompt = t.apply_chat_template([{"role": "user", "content": "Hi"}])
    assert prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    ids = t.encode(prompt, add_special_tokens=False)
    assert ids[0] == 1
    assert ids.count(2) == 2
    assert "<|im_" not in t.decode(ids)
    assert t.decode(ids, skip_special_tokens=False) == prompt
    assert t.special_token_ids == frozenset(range(17))


def test_smollm2_needs_neither_transformers_nor_torch() -> None:
    program = (
        "import sys, vajra.models as m; from vajra.config import ModelConfig\n"
        "r = m.resolve(ModelConfig(model=m.DEFAULT_MODEL, dtype='auto'))\n"
        "m.load_tokenizer(r).encode('x'); w = m.load_resolved(r).weights; w.tensor('model.norm.weight')\n"
        "print([n for n in ('torch', 'transformers', 'huggingface_hub') if n in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def byte_level() -> Tokenizer:
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    t.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    t.add_tokens([AddedToken("straße", special=False, normalized=False)])
    return t


def sentencepiece() -> Tokenizer:
    """As Llama 2's tokenizer.json: metaspaces, bytes for the unknown, one space in front that is not the text's."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=700, limit_alphabet=100, special_tokens=specials[:3], show_progress=False, max_token_length=8
    )
    t.train_from_iterator(CORPUS, trainer)
    t.add_tokens([AddedToken(s, special=False, normalized=False) for s in specials[3:]])
    state = t.to_str()  # bytes are ordinary entries of the model, not added tokens
    spec = json.loads(state)
    spec["added_tokens"] = [a for a in spec["added_tokens"] if not a["content"].startswith("<0x")]
    for s in specials[3:]:
        spec["model"]["vocab"].setdefault(s, max(spec["model"]["vocab"].values()) + 1)
    return Tokenizer.from_str(json.dumps(spec))


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece", "smollm2"])
def pair(request: pytest.FixtureRequest) -> tuple[OurTokenizer, Tokenizer, str]:
    """Ours, the library's own, and the kind."""
    if request.param == "smollm2":
        resolved = vajra.models.resolve(ModelConfig(model=vajra.models.DEFAULT_MODEL, dtype="auto"))
        vajra.models.load_tokenizer(resolved)
        assert resolved.tokenizer.derived is not None
        path = resolved.tokenizer.derived / "tokenizer.json"
        backend = Tokenizer.from_file(str(path))
    else:
        backend = {"byte_level": byte_level, "sentencepiece": sentencepiece}[request.param]()
    return OurTokenizer(backend), backend, request.param


@given(text=texts)
def test_decode_of_encode_is_the_librarys(pair: tuple[OurTokenizer, Tokenizer, str], text: str) -> None:
    ours, theirs, _ = pair
    ids = ours.encode(text)
    assert ids == theirs.encode(text).ids
    assert ours.decode(ids) == theirs.decode(ids)


@given(data=st.data())
def test_decode_of_any_ids_is_the_librarys(pair: tuple[OurTokenizer, Tokenizer, str], data: st.DataObject) -> None:
    """The byte-level decoder is the library's to the letter. With byte fallback the library replaces a whole run of
    byte tokens when any of it is broken, which no stream can do; there valid text is compared (above)."""
    ours, theirs, kind = pair
    ids = data.draw(st.lists(st.integers(0, ours.vocab_size + 3), max_size=40))
    skip = data.draw(st.booleans())
    text = ours.decode(ids, skip)
    if kind != "sentencepiece" or "\ufffd" not in text:
        assert text == theirs.decode(ids, skip_special_tokens=skip)


@given(data=st.data())
def test_deltas_join_to_the_whole(pair: tuple[OurTokenizer, Tokenizer, str], data: st.DataObject) -> None:
    tokenizer, _, _ = pair
    ids = data.draw(
        st.lists(st.integers(0, tokenizer.vocab_size + 3), max_size=60) | texts.map(tokenizer.encode), label="ids"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    skip = data.draw(st.booleans())
    detokenizer = tokenizer.detokenizer(skip_special_tokens=skip)
    bounds = [0, *cuts, len(ids)]
    deltas = [detokenizer.push(ids[a:b]) for a, b in pairwise(bounds)]
    assert "".join(deltas) + detokenizer.flush() == tokenizer.decode(ids, skip)


@given(text=texts)
def test_valid_text_streams_without_replacements(pair: tuple[OurTokenizer, Tokenizer, str], text: str) -> None:
    tokenizer, _, kind = pair
    known = {b for b, c in BYTE_LETTERS.items() if kind == "sentencepiece" or tokenizer.token_id(c) is not None}
    text = "".join(c for c in text if c != "\ufffd" and set(c.encode()) <= known)
    detokenizer = tokenizer.detokenizer()
    deltas = [detokenizer.push([i]) for i in tokenizer.encode(text)]
    assert "\ufffd" not in "".join(deltas)
    assert detokenizer.flush() == ""


def test_half_a_character_is_held_back(smollm2_tokenizer: OurTokenizer) -> None:
    ids = smollm2_tokenizer.encode("🎉!")
    detokenizer = smollm2_tokenizer.detokenizer()
    deltas = [detokenizer.push([i]) for i in ids]
    assert deltas == [""] * (len(ids) - 2) + ["🎉", "!"]
    detokenizer = smollm2_tokenizer.detokenizer()
    assert detokenizer.push(ids[:1]) == ""
    assert detokenizer.flush() == "\ufffd"


def test_continuation_keeps_the_leading_space() -> None:
    t = OurTokenizer(sentencepiece())
    ids = t.encode("quick fox")
    assert t.decode(ids) == "quick fox"
    stream = t.detokenizer(continuation=True)
    assert stream.push(ids) + stream.flush() == " quick fox"


def test_token_text_and_bytes(smollm2_tokenizer: OurTokenizer) -> None:
    ids = smollm2_tokenizer.encode(" wörld☃")
    assert b"".join(map(smollm2_tokenizer.token_bytes, ids)).decode() == " wörld☃"
    assert smollm2_tokenizer.token_text(ids[-1]).endswith("\ufffd")
    assert smollm2_tokenizer.token_bytes(10**6) == b""
    assert smollm2_tokenizer.token_id("<|im_end|>") == 2


def test_lone_surrogates_are_refused(smollm2_tokenizer: OurTokenizer) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        smollm2_tokenizer.encode("a\ud800b")


def test_padding_and_truncation_of_the_file_do_not_count(tmp_path: Path) -> None:
    backend = byte_level()
    backend.enable_truncation(4)
    backend.enable_padding(length=10)
    assert len(OurTokenizer(backend).encode("Hello hello hello hello")) > 4
    assert len(OurTokenizer(backend).encode("H")) == 1


def test_unknown_decoder_is_refused() -> None:
    backend = byte_level()
    backend.decoder = decoders.WordPiece()
    with pytest.raises(ModelError, match=r"m: a tokenizer whose decoder is \['WordPiece'\] is not supported"):
        OurTokenizer(backend, where="m")


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "llama", tokenizer=False)
    resolved = vajra.models.resolve(ModelConfig(model=str(folder), dtype="auto"))
    with pytest.raises(ModelError, match="has no tokenizer"):
        vajra.models.load_tokenizer(resolved)
    (folder / "tokenizer.json").write_text("{}")
    resolved = vajra.models.resolve(ModelConfig(model=str(folder), dtype="auto"))
    with pytest.raises(ModelError, match=r"tokenizer.json is no tokenizer"):
        vajra.models.load_tokenizer(resolved)


def test_transformers_builds_what_has_no_tokenizer_json(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", "qwen2", tokenizer=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(sorted(letters))} | {"he": 256}))
    (folder / "merges.txt").write_text("#version: 0.2\nh e\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    tokenizer = vajra.models.load_tokenizer(vajra.models.resolve(ModelConfig(model=str(folder), dtype="auto")))
    theirs = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode("he said") == theirs("he said").input_ids
    assert tokenizer.decode(tokenizer.encode("he said")) == "he said"

"""A `tokenizers` tokenizer from GGUF metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vajra.models.errors import ModelError
from vajra.models.gguf_file import GGUFFile

if TYPE_CHECKING:
    import tokenizers

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_NAMES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}

# Word patterns as the models' own tokenizer.json have them.
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_WORDS = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WHOLE_WORDS = ("llama-bpe", "tekken")  # a word that is an entry is taken whole, whatever the merges say


def build(file: GGUFFile) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer, and what tokenizer_config.json would say. Raises ModelError for a kind that is not known."""
    meta = file.metadata
    kind, tokens = meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
        raise ModelError(f"{file.path} holds no vocabulary (tokenizer.ggml.tokens). Put a tokenizer.json beside it.")
    if len(meta.get("tokenizer.ggml.token_type", tokens)) != len(tokens):
        raise ModelError(f"{file.path}: tokenizer.ggml.token_type and tokens differ in length. Fetch the file again.")
    if kind == "gpt2":
        tokenizer = _byte_level(file, tokens)
    elif kind == "llama":
        tokenizer = _sentencepiece(file, tokens)
    else:
        raise ModelError(
            f"{file.path}: tokenizer model {kind!r} is not supported, only gpt2 and llama. Put the model's "
            f"tokenizer.json beside the file."
        )
    _add_tokens(tokenizer, file, tokens)
    config = {name: tokens[i] for name, i in _named_ids(file, len(tokens)).items()}
    _add_post_processor(tokenizer, file, config)
    return tokenizer, config | {"chat_template": meta.get("tokenizer.chat_template")}


def _byte_level(file: GGUFFile, tokens: list[str]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    pre = file.metadata.get("tokenizer.ggml.pre")
    if pre not in _PRE_TOKENIZERS:
        raise ModelError(
            f"{file.path}: pre-tokenizer {pre!r} is not supported, only {', '.join(_PRE_TOKENIZERS)}. Put the model's "
            f"tokenizer.json beside the file."
        )
    vocab = _vocab(tokens)
    merges = [tuple(merge.split(" ", 1)) for merge in file.metadata.get("tokenizer.ggml.merges", [])]
    for merge in merges:  # checked here: the library panics on what does not fit
        if len(merge) != 2 or "".join(merge) not in vocab or not all(part in vocab for part in merge):
            raise ModelError(
                f"{file.path}: merge {' '.join(merge)!r} does not fit the vocabulary. Fetch the file again."
            )
    model = models.BPE(vocab=vocab, merges=merges, ignore_merges=pre in _WHOLE_WORDS)
    tokenizer = Tokenizer(model)
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _smollm() -> Any:
    from tokenizers import pre_tokenizers as pre

    return pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])


def _gpt2() -> Any:
    from tokenizers import pre_tokenizers as pre

    return pre.ByteLevel(add_prefix_space=False)


def _words(pattern: str) -> Callable[[], Any]:
    def make() -> Any:
        from tokenizers import Regex
        from tokenizers import pre_tokenizers as pre

        split = pre.Split(Regex(pattern), behavior="isolated")
        return pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])

    return make


_PRE_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "smollm": _smollm,
    "gpt-2": _gpt2,
    "llama-bpe": _words(_LLAMA3_WORDS),
    "qwen2": _words(_QWEN2_WORDS),
    "tekken": _words(_TEKKEN_WORDS),
}


def _sentencepiece(file: GGUFFile, tokens: list[str]) -> tokenizers.Tokenizer:
    """SentencePiece's BPE: merges follow from the scores, bytes stand in for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores, vocab = file.metadata.get("tokenizer.ggml.scores"), _vocab(tokens)
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise ModelError(f"{file.path}: tokenizer.ggml.scores is missing or too short. Fetch the file again.")
    unknown = _named_ids(file, len(tokens)).get("unk_token", 0)
    model = models.BPE(
        vocab=vocab, merges=_merges(vocab, scores), unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    prefix = file.metadata.get("tokenizer.ggml.add_space_prefix", True)
    steps = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(vocab: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, best piece first; within a piece, earlier parts first."""
    merges = []
    for piece, i in vocab.items():
        pairs = [(piece[:n], piece[n:]) for n in range(1, len(piece))]
        known = [(vocab[a], vocab[b], a, b) for a, b in pairs if a in vocab and b in vocab]
        merges += [(-scores[i], i, *entry) for entry in sorted(known)]
    return [(a, b) for *_, a, b in sorted(merges)]


def _vocab(tokens: list[str]) -> dict[str, int]:
    """First id of each entry: files with padding repeat none, but be safe."""
    return {token: i for i, token in reversed(list(enumerate(tokens)))}


def _add_tokens(tokenizer: tokenizers.Tokenizer, file: GGUFFile, tokens: list[str]) -> None:
    from tokenizers import AddedToken

    added = []
    for token, kind in zip(tokens, file.metadata.get("tokenizer.ggml.token_type", []), strict=False):
        if kind in (_CONTROL, _UNKNOWN):
            added.append(AddedToken(token, special=True, normalized=False))
        elif kind == _USER_DEFINED:
            added.append(AddedToken(token, special=False, normalized=False))
    tokenizer.add_tokens([t for t in added if not t.special])
    tokenizer.add_special_tokens([t for t in added if t.special])


def _named_ids(file: GGUFFile, count: int) -> dict[str, int]:
    ids = {}
    for name, key in _NAMES.items():
        value = file.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if value is not None and not 0 <= value < count:
            raise ModelError(f"{file.path}: {name} has id {value}; the vocabulary has {count} entries.")
        if value is not None:
            ids[name] = value
    return ids


def _add_post_processor(tokenizer: tokenizers.Tokenizer, file: GGUFFile, config: dict[str, str]) -> None:
    """Writes bos and eos around a text where the file says so."""
    from tokenizers import processors

    meta = file.metadata
    wants_bos = meta["tokenizer.ggml.model"] == "llama" or meta.get("tokenizer.ggml.pre") == "llama-bpe"
    add_bos = meta.get("tokenizer.ggml.add_bos_token", wants_bos) and "bos_token" in config
    add_eos = meta.get("tokenizer.ggml.add_eos_token", False) and "eos_token" in config
    before = [config["bos_token"]] if add_bos else []
    after = [config["eos_token"]] if add_eos else []
    if before or after:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in {*before, *after}],
        )

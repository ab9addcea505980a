"""Where a model's tokenizer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Any of these lets transformers build a tokenizer where there is no tokenizer.json.
_OTHER_FILES = ("tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json", "tekken.json")


@dataclass(frozen=True, kw_only=True)
class TokenizerSource:
    """`kind`: json (a folder with tokenizer.json), gguf (a file), transformers (a folder), none (no tokenizer)."""

    kind: str
    path: Path
    trust_remote_code: bool = False
    derived: Path | None = None  # folder in which what is built from a GGUF may be kept


def find_tokenizer(
    folder: Path, gguf_files: Sequence[str], trust_remote_code: bool, derived: Path | None = None
) -> TokenizerSource:
    """The tokenizer of a model folder; `gguf_files` names the model's GGUF file where it is one."""
    if (folder / "tokenizer.json").is_file():
        return TokenizerSource(kind="json", path=folder)
    if gguf_files:
        return TokenizerSource(kind="gguf", path=folder / gguf_files[0], derived=derived)
    if any((folder / name).is_file() for name in _OTHER_FILES):
        return TokenizerSource(kind="transformers", path=folder, trust_remote_code=trust_remote_code)
    return TokenizerSource(kind="none", path=folder)

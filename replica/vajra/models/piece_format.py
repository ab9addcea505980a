"""How a tokenizer writes bytes in its vocabulary: read off the decoder of a tokenizer.json."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vajra.models.errors import ModelError

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_METASPACE = "\u2581"


@dataclass(frozen=True)
class PieceFormat:
    """`to_bytes` maps a vocabulary entry to what it stands for; `strip` as in IncrementalDetokenizer."""

    to_bytes: Callable[[str], bytes]
    strip: int = 0


def piece_format(decoder: Any, where: str) -> PieceFormat:
    """The format behind a `tokenizers` decoder. Raises ModelError, prefixed with `where`, for an unknown one."""
    state: dict[str, Any] = json.loads(decoder.__getstate__()) if decoder is not None else {"type": "none"}
    steps: list[dict[str, Any]] = state["decoders"] if state["type"] == "Sequence" else [state]
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"]:
        return PieceFormat(byte_level_bytes)
    if "Fuse" in kinds and set(kinds) <= {"Replace", "ByteFallback", "Fuse", "Strip"}:
        return _sentencepiece(steps, where)
    if kinds == ["Metaspace"]:
        prepends = steps[0].get("prepend_scheme", "always") != "never"
        return PieceFormat(_metaspace_bytes, strip=1 if prepends else 0)
    raise ModelError(f"{where}: a tokenizer whose decoder is {kinds} is not supported.")


def _sentencepiece(steps: list[dict[str, Any]], where: str) -> PieceFormat:
    for step in steps:
        replaces = step["type"] == "Replace" and (step["pattern"], step["content"]) != ({"String": _METASPACE}, " ")
        strips = step["type"] == "Strip" and (step["content"], step["stop"]) != (" ", 0)
        if replaces or strips:
            raise ModelError(f"{where}: a tokenizer whose decoder has the step {step} is not supported.")
    strip = sum(step["start"] for step in steps if step["type"] == "Strip")
    fallback = any(step["type"] == "ByteFallback" for step in steps)
    return PieceFormat(_byte_fallback_bytes if fallback else _metaspace_bytes, strip)


def _metaspace_bytes(piece: str) -> bytes:
    return piece.replace(_METASPACE, " ").encode()


def _byte_fallback_bytes(piece: str) -> bytes:
    match = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(match[1], 16)]) if match else _metaspace_bytes(piece)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


BYTE_LEVEL_ALPHABET = _byte_alphabet()


def byte_level_bytes(piece: str) -> bytes:
    """Bytes of a piece in GPT-2's alphabet; a piece with any other character is plain text (an added token)."""
    try:
        return bytes([BYTE_LEVEL_ALPHABET[c] for c in piece])
    except KeyError:
        return piece.encode()

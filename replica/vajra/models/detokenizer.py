"""From token ids to text, as they come."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable


class PieceBytes:
    """The bytes that each token stands for; looked up once per id."""

    def __init__(self, piece: Callable[[int], str | None], to_bytes: Callable[[str], bytes]) -> None:
        self._piece, self._to_bytes = piece, to_bytes
        self._known: dict[int, bytes] = {}

    def __getitem__(self, token_id: int) -> bytes:
        """Empty for an id that the tokenizer does not know (padding rows of an embedding)."""
        known = self._known.get(token_id)
        if known is None:
            piece = self._piece(token_id)
            known = self._known[token_id] = b"" if piece is None else self._to_bytes(piece)
        return known


class IncrementalDetokenizer:
    """Turns ids into text deltas. The deltas joined are Tokenizer.decode of all ids; each push is O(its ids).

    A character whose UTF-8 bytes are not all there yet is held back; bytes that can never be one become U+FFFD.
    `skip` are ids that yield nothing. `strip` is how many spaces at the very start belong to the tokenizer's
    format and not to the text; 0 when the ids continue a text.
    """

    def __init__(self, pieces: PieceBytes, skip: Collection[int] = (), strip: int = 0) -> None:
        self._pieces, self._skip, self._strip = pieces, skip, strip
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        """The text that these ids complete."""
        return self._text(b"".join(self._pieces[i] for i in ids if i not in self._skip), False)

    def flush(self) -> str:
        """What is still held back, as U+FFFD: the end of the text."""
        return self._text(b"", True)

    def _text(self, data: bytes, final: bool) -> str:
        text = self._decoder.decode(data, final)
        while self._strip and text:
            if text[0] != " ":
                self._strip = 0
                break
            text, self._strip = text[1:], self._strip - 1
        return text

"""A model's tokenizer: text to ids and back, and its chat template. Built without transformers where possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vajra.models.chat_template import ChatTemplate
from vajra.models.detokenizer import IncrementalDetokenizer, PieceBytes
from vajra.models.errors import ModelError
from vajra.models.piece_format import piece_format

if TYPE_CHECKING:
    import tokenizers


class Tokenizer:
    """Wraps a `tokenizers.Tokenizer`. Safe to share between threads; make one per process."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        eos_token_ids: Sequence[int] = (),
        chat_template: str | None = None,
        special_tokens: Mapping[str, str] | None = None,
        where: str = "tokenizer",
    ) -> None:
        """`special_tokens` (bos_token, eos_token, ...) are variables of the template; `where` prefixes errors."""
        backend.no_padding()
        backend.no_truncation()
        self._backend, self._where = backend, where
        self.eos_token_ids = tuple(eos_token_ids)
        form = piece_format(backend.decoder, where)
        self._pieces, self._strip = PieceBytes(backend.id_to_token, form.to_bytes), form.strip
        self._special = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
        self._template_source, self._special_tokens = chat_template, dict(special_tokens or {})
        self._template: ChatTemplate | None = None

    @property
    def vocab_size(self) -> int:
        """Entries, added tokens included; the model's embedding may have more rows."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids that `skip_special_tokens` leaves out."""
        return self._special

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of a text; special tokens written out in it are recognised. Raises ValueError for lone surrogates."""
        try:
            return list(self._backend.encode(text, add_special_tokens=add_special_tokens).ids)
        except (UnicodeEncodeError, TypeError) as e:
            raise ValueError("the text is not valid Unicode: it holds half of a surrogate pair") from e

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Text of ids. Ids beyond the vocabulary yield nothing; bytes that are no UTF-8 become U+FFFD."""
        detokenizer = self.detokenizer(skip_special_tokens=skip_special_tokens)
        return detokenizer.push(ids) + detokenizer.flush()

    def detokenizer(self, *, skip_special_tokens: bool = True, continuation: bool = False) -> IncrementalDetokenizer:
        """A detokenizer for one stream. With `continuation` the ids go on from a prompt: a leading space is text."""
        skip = self._special if skip_special_tokens else frozenset()
        return IncrementalDetokenizer(self._pieces, skip, 0 if continuation else self._strip)

    def token_id(self, piece: str) -> int | None:
        """The id of a vocabulary entry as the vocabulary writes it, or None."""
        found: int | None = self._backend.token_to_id(piece)
        return found

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, alone; empty beyond the vocabulary."""
        return self._pieces[token_id]

    def token_text(self, token_id: int) -> str:
        """`token_bytes` as text, with U+FFFD for what is no character on its own."""
        return self._pieces[token_id].decode("utf-8", "replace")

    @property
    def has_chat_template(self) -> bool:
        return self._template_source is not None

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The prompt for a conversation. Encode it with add_special_tokens=False: the template writes them.

        Raises ModelError when the model has no template, ChatTemplateError when the template refuses the messages.
        """
        if self._template is None:
            if self._template_source is None:
                raise ModelError(f"{self._where}: the model has no chat template. Use the completions interface.")
            self._template = ChatTemplate(self._template_source, self._special_tokens, where=self._where)
        return self._template.render(messages, add_generation_prompt=add_generation_prompt, tools=tools, **variables)


def read_backend(path: Path) -> tokenizers.Tokenizer:
    """A tokenizer.json. Raises ModelError when it cannot be read."""
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as e:  # the library raises plain Exception
        raise ModelError(
            f"{path} is no tokenizer that the tokenizers library can read: {e}. Fetch the file again."
        ) from e

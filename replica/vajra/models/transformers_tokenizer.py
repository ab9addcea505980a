"""Tokenizers that only transformers can build: no tokenizer.json, or code of the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vajra.models.errors import ModelError

if TYPE_CHECKING:
    import tokenizers


def build(folder: Path, trust_remote_code: bool) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The backend of transformers' AutoTokenizer and its special tokens and template. Raises ModelError."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise ModelError(
            f"{folder} has no tokenizer.json, and without it the tokenizer needs the transformers library, which is "
            f"not installed. Install vajra[transformers], or add the model's tokenizer.json."
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except Exception as e:  # whatever the model's own code raises
        raise ModelError(f"{folder}: transformers cannot build the tokenizer: {e}") from e
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"{folder}: the tokenizer {type(tokenizer).__name__} is written in Python alone, which is not supported. "
            f"Convert it to a tokenizer.json."
        )
    config: dict[str, Any] = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    config["chat_template"] = tokenizer.chat_template
    return backend, config

"""load_tokenizer: from tokenizer.json, from GGUF metadata, or, where a model has nothing else, by transformers."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vajra.models.errors import ModelError
from vajra.models.hf_config import read_json
from vajra.models.loading import ResolvedModel
from vajra.models.tokenizer import Tokenizer, read_backend
from vajra.models.tokenizer_source import TokenizerSource

if TYPE_CHECKING:
    import tokenizers

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def load_tokenizer(resolved: ResolvedModel) -> Tokenizer:
    """The tokenizer of a model. Raises ModelError when there is none, or none that can be used."""
    source = resolved.tokenizer
    if source.kind == "none":
        raise ModelError(
            f"{source.path} has no tokenizer. Put its tokenizer.json there; requests of token ids need none."
        )
    backend, config, folder = _read(source)
    return Tokenizer(
        backend,
        eos_token_ids=resolved.spec.eos_token_ids,
        chat_template=_chat_template(config, folder),
        special_tokens=_special_tokens(config),
        where=str(source.path),
    )


def _read(source: TokenizerSource) -> tuple[tokenizers.Tokenizer, dict[str, Any], Path]:
    """The backend, what tokenizer_config.json says, and the folder where a template may lie beside them."""
    if source.kind == "json":
        return _read_folder(source.path)
    if source.kind == "transformers":
        from vajra.models.transformers_tokenizer import build

        return (*build(source.path, source.trust_remote_code), source.path)
    if source.derived is None:
        return (*_convert(source.path), source.path.parent)
    if not source.derived.is_dir():
        _keep(source.derived, *_convert(source.path))
    return _read_folder(source.derived)


def _read_folder(folder: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any], Path]:
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    if (folder / "special_tokens_map.json").is_file():
        config = read_json(folder / "special_tokens_map.json") | config
    return read_backend(folder / "tokenizer.json"), config, folder


def _convert(path: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    from vajra.models.gguf_file import GGUFFile
    from vajra.models.gguf_tokenizer import build

    return build(GGUFFile(path))


def _keep(folder: Path, backend: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
    """Writes a tokenizer folder at once; who comes second finds the first one's."""
    scratch = folder.parent / f"{folder.name}-{uuid.uuid4().hex[:12]}"  # mkdtemp's would be for this user alone
    try:
        scratch.mkdir()
        backend.save(str(scratch / "tokenizer.json"), pretty=False)
        (scratch / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        os.replace(scratch, folder)
    except OSError as e:
        if not folder.is_dir():
            raise ModelError(f"{folder} cannot be written: {e.strerror}. Set VAJRA_CACHE to a folder you own.") from e
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for name in _SPECIAL:
        value = config.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            tokens[name] = value
    return tokens


def _chat_template(config: dict[str, Any], folder: Path) -> str | None:
    """chat_template.jinja, chat_template.json, or tokenizer_config.json, whose list has one named "default"."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = config.get("chat_template")
    if (folder / "chat_template.json").is_file():
        template = read_json(folder / "chat_template.json").get("chat_template", template)
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if template is not None and not isinstance(template, str):
        raise ModelError(f"{folder}: chat_template must be a string or a list of named templates.")
    return template

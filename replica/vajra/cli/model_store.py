"""What `vajra model` shows of the local store (`vajra.models.store`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vajra.cli.output import Progress
from vajra.config import ModelConfig
from vajra.models import ResolvedModel, list_models, load, pull


def fetch(model: str, *, revision: str | None, download_dir: str | None, progress: Progress) -> ResolvedModel:
    """Fetches and checks a model, weights too; a local one is only checked. Raises ModelError."""
    if not Path(model).exists():
        pull(model, revision=revision, download_dir=download_dir, progress=progress)
    config = ModelConfig(model=model, revision=revision, download_dir=download_dir, dtype="auto")
    return load(config, progress=progress).resolved


def describe(resolved: ResolvedModel) -> dict[str, Any]:
    """The facts about a model that its user asks for."""
    spec = resolved.spec
    return {
        "model": resolved.served_name,
        "path": str(resolved.path),
        "format": resolved.load_format,
        "dtype": spec.dtype,
        "num_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "vocab_size": spec.vocab_size,
        "max_model_len": resolved.max_model_len,
        "notices": list(resolved.notices),
    }


def installed() -> list[dict[str, Any]]:
    """Embedded models, fetched or not, then the hub's cache."""
    return [
        {
            "model": model.reference,
            "source": model.source,
            "state": "ready" if model.present else "not fetched",
            "bytes": model.size_bytes,
            "path": str(model.path) if model.present else "",
        }
        for model in list_models()
    ]

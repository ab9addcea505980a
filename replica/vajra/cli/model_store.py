"""Which models this machine has, and fetching more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vajra.cli.output import Progress
from vajra.config import ModelConfig
from vajra.models import ResolvedModel, load
from vajra.models.embedded import EMBEDDED


def fetch(model: str, *, revision: str | None, download_dir: str | None, progress: Progress) -> ResolvedModel:
    """Fetches and checks a model, weights too. Raises ModelError."""
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
    rows = []
    for model in EMBEDDED.values():
        here = model.is_present()
        rows.append(
            _row(
                model.name,
                "embedded",
                "ready" if here else "not fetched",
                model.gguf_bytes,
                model.path() if here else "",
            )
        )
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        repos = frozenset()
    for repo in sorted(repos, key=lambda r: r.repo_id):
        if repo.repo_type == "model":
            rows.append(_row(repo.repo_id, "hub", "cached", repo.size_on_disk, repo.repo_path))
    return rows


def _row(model: str, source: str, state: str, size: int, path: Path | str) -> dict[str, Any]:
    return {"model": model, "source": source, "state": state, "bytes": size, "path": str(path)}

"""The local store: what `vajra model pull` and `vajra model list` do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vajra.models.cache import Progress, no_progress
from vajra.models.checkpoint_files import formats_of, read_index, weight_file_names
from vajra.models.embedded import EMBEDDED, fetch_embedded
from vajra.models.errors import ModelError
from vajra.models.hub import fetch
from vajra.models.references import locate


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A model that can be served without the network, or the embedded one before its first fetch (size 0)."""

    reference: str
    source: str  # embedded or hub
    path: Path
    size_bytes: int
    present: bool = True


def pull(
    reference: str,
    *,
    revision: str | None = None,
    download_dir: str | None = None,
    progress: Progress | None = None,
) -> StoredModel:
    """Fetches a model whole; an embedded one that is there is checked against its SHA-256. Raises ModelError."""
    report = progress or no_progress
    if reference in EMBEDDED and revision is None:
        path = fetch_embedded(EMBEDDED[reference], report, download_dir=download_dir, verify=True)
        return StoredModel(reference=reference, source="embedded", path=path, size_bytes=path.stat().st_size)
    where = locate(reference, revision=revision, download_dir=download_dir, custom_code=True, progress=report)
    if where.hub is None:
        raise ModelError(f"{reference} is a local path: there is nothing to pull.")
    path = where.path
    if path.is_dir():
        offered = formats_of(list(where.files))
        if not offered:
            raise ModelError(f"{reference} holds no weights: no safetensors, PyTorch or GGUF file.")
        fmt = offered[0]
        fetch(where.hub, weight_file_names(list(where.files), fmt, read_index(path, fmt), reference), report)
    return StoredModel(reference=reference, source="hub", path=path, size_bytes=_size(path))


def list_models(*, download_dir: str | None = None) -> list[StoredModel]:
    """The embedded models, then those in the hub's cache (or below download_dir). Uses no network."""
    models = []
    for model in EMBEDDED.values():
        path, present = model.path(download_dir), model.is_present(download_dir)
        size = model.gguf_bytes if present else 0
        models.append(StoredModel(reference=model.name, source="embedded", path=path, size_bytes=size, present=present))
    return models + _hub_models(download_dir)


def _hub_models(download_dir: str | None) -> list[StoredModel]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(download_dir).repos
    except (CacheNotFound, ValueError):  # nothing fetched yet
        return []
    return [
        StoredModel(reference=r.repo_id, source="hub", path=r.repo_path, size_bytes=r.size_on_disk)
        for r in sorted(repos, key=lambda r: r.repo_id)
        if r.repo_type == "model"
    ]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    return sum(p.stat().st_size for p in files)

"""Models of a Hugging Face hub, through huggingface_hub: its cache, its token (HF_TOKEN), its HF_ENDPOINT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vajra.models.cache import Progress
from vajra.models.errors import ModelError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Beside the weights: configuration, tokenizer, chat template. Python files only where custom code was allowed.
METADATA = ("*.json", "*.jinja", "*.model", "*.txt")
_IN_CLUSTER = "In a cluster the token lies in a Secret, which spec.model.tokenSecretRef names."


@dataclass(frozen=True)
class HubRepo:
    """One revision of a repository: pinned to a commit, so that no later call mixes two states of a branch."""

    repo_id: str
    revision: str | None  # as the user named it
    commit: str
    files: tuple[str, ...]  # at the top level
    download_dir: str | None
    offline: Path | None = None  # the cache's folder, when the hub could not be asked


def open_repo(repo_id: str, revision: str | None, download_dir: str | None) -> HubRepo:
    """Looks a repository up; without the network, in the local cache. Raises ModelError when it cannot be found."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f"{repo_id}@{revision}" if revision else repo_id
    try:
        info = HfApi().model_info(repo_id, revision=revision)
    except GatedRepoError as e:
        raise ModelError(
            f"{at} is gated. Accept its terms on the hub, then set HF_TOKEN to a token of yours. {_IN_CLUSTER}"
        ) from e
    except RevisionNotFoundError as e:
        raise ModelError(f"{repo_id} has no revision {revision!r} on the hub.") from e
    except RepositoryNotFoundError as e:
        raise ModelError(
            f"{repo_id} is not on the hub, or is private. Check the spelling, or set HF_TOKEN. {_IN_CLUSTER} "
            f"A local folder is named by a path (./{repo_id})."
        ) from e
    except Exception as e:  # no network, offline mode, a broken proxy: what is cached may still do
        cached = _cached(repo_id, revision, download_dir)
        if cached is None:
            status = e.response.status_code if isinstance(e, HfHubHTTPError) else None
            if status in (401, 403):
                raise ModelError(
                    f"the hub refuses the token for {at} ({status}). Set HF_TOKEN to a valid one, or unset it and log "
                    f"out (`hf auth logout`) for what is public. {_IN_CLUSTER}"
                ) from e
            raise ModelError(
                f"{at} is not in the local cache, and the hub cannot be reached ({_first_line(e)}). Check the "
                f"network and HF_ENDPOINT, or serve a local folder."
            ) from e
        return cached
    files = tuple(s.rfilename for s in info.siblings or () if "/" not in s.rfilename)
    return HubRepo(repo_id, revision, info.sha or (revision or "main"), files, download_dir)


def fetch(repo: HubRepo, patterns: Sequence[str], progress: Progress) -> Path:
    """Downloads the top-level files that match, and returns the folder. Raises ModelError."""
    if repo.offline is not None:
        return _complete(repo, repo.offline, patterns)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                repo.repo_id,
                revision=repo.revision,  # by its own name, or it would not be found again without the network
                cache_dir=repo.download_dir,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*"],
                tqdm_class=_progress_bar(f"downloading {repo.repo_id}", progress),
            )
        )
    except Exception as e:
        raise ModelError(
            f"{repo.repo_id}: the download failed ({_first_line(e)}). Check network, free space and HF_TOKEN; files "
            f"that are complete are kept and the next try fetches the rest."
        ) from e
    if folder.name != repo.commit:
        raise ModelError(f"{repo.repo_id} has changed on the hub while it was being fetched. Try again.")
    return folder


def _complete(repo: HubRepo, folder: Path, patterns: Sequence[str]) -> Path:
    missing = [name for name in patterns if "*" not in name and name not in repo.files]
    if missing:
        raise ModelError(
            f"{repo.repo_id} is in the local cache without {missing[0]}, and the hub cannot be reached. Pull it again "
            f"when there is a network."
        )
    return folder


def _cached(repo_id: str, revision: str | None, download_dir: str | None) -> HubRepo | None:
    """The revision as the cache has it, perhaps in part."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(download_dir).repos
    except (CacheNotFound, ValueError):  # nothing fetched yet
        return None
    for found in (r for repo in repos if repo.repo_id == repo_id for r in repo.revisions):
        if found.commit_hash == revision or (revision or "main") in found.refs:
            folder = found.snapshot_path
            files = tuple(sorted(p.name for p in folder.iterdir() if p.is_file()))
            return HubRepo(repo_id, revision, found.commit_hash, files, download_dir, folder)
    return None


def _first_line(e: BaseException) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0]


def _progress_bar(stage: str, progress: Progress) -> Any:
    """A tqdm that prints nothing and reports the bar that counts the bytes of all files."""
    from huggingface_hub.utils.tqdm import tqdm

    class Report(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._reports = kwargs.pop("name", None) == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]
            self._done = int(kwargs.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            if self._reports:
                progress(stage, self._done, int(self.total or 0))
            return None

    return Report

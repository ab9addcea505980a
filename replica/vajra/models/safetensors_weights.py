"""Weights out of safetensors files, memory-mapped.

The header is parsed here, not by the safetensors library, whose numpy face has no bfloat16 and whose errors name
neither file nor tensor.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vajra.models.checkpoint_files import check_index, read_index
from vajra.models.errors import ModelError
from vajra.models.layout import check_tensors, expected_shapes, target_dtype
from vajra.models.spec import ModelSpec
from vajra.models.tensor import NUMPY_DTYPES, Tensor, convert

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_MAX_HEADER = 100_000_000  # bytes; the format's own bound


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: bytes [begin, end) of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """One mapped file. Raises ModelError naming file and tensor when it is cut short or malformed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as f:
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as e:  # ValueError: an empty file
            raise ModelError(f"{path} cannot be opened: {e}.") from e
        size = len(self._map)
        length = int.from_bytes(self._map[:8], "little")
        if size < 8 or length > _MAX_HEADER or 8 + length > size:
            raise ModelError(f"{path}: the safetensors header is cut short or corrupt. Fetch the file again.")
        try:
            header = json.loads(self._map[8 : 8 + length])
            header.pop("__metadata__", None)
            items = list(header.items())
        except (ValueError, AttributeError) as e:
            raise ModelError(f"{path}: the safetensors header is corrupt ({e}). Fetch the file again.") from e
        self.entries = {name: self._entry(name, value, 8 + length, size) for name, value in items}

    def _entry(self, name: str, value: Any, start: int, size: int) -> Entry:
        where = f"{self.path}: tensor {name}"
        try:
            dtype, shape = str(value["dtype"]), tuple(int(n) for n in value["shape"])
            begin, end = (start + int(n) for n in value["data_offsets"])
        except (KeyError, TypeError, ValueError) as e:
            raise ModelError(f"{where} is described wrongly in the header. Fetch the file again.") from e
        if dtype not in _DTYPES:
            raise ModelError(f"{where} has dtype {dtype}, which is not supported; {', '.join(_DTYPES)} are.")
        num_bytes = NUMPY_DTYPES[_DTYPES[dtype]].itemsize
        for n in shape:
            num_bytes *= n
        if min(shape, default=0) < 0 or begin < start or end - begin != num_bytes:
            raise ModelError(
                f"{where}: shape {list(shape)} does not fit its {end - begin} bytes. Fetch the file again."
            )
        if end > size:
            raise ModelError(f"{where} ends at byte {end}, the file at {size}: it is cut short. Fetch the file again.")
        return Entry(_DTYPES[dtype], shape, begin, end)

    def tensor(self, name: str) -> Tensor:
        """A read-only view of the map."""
        entry = self.entries[name]
        numpy_dtype = NUMPY_DTYPES[entry.dtype]
        count = (entry.end - entry.begin) // numpy_dtype.itemsize
        array = np.frombuffer(self._map, numpy_dtype, count, entry.begin).reshape(entry.shape)
        return Tensor(name, entry.dtype, array)


class SafetensorsWeights:
    """WeightSource over one or several safetensors files of a folder."""

    def __init__(self, folder: Path, files: Sequence[str], spec: ModelSpec, *, fewer_layers: bool = False) -> None:
        self._spec, self._shapes = spec, expected_shapes(spec)
        self._files: dict[str, SafetensorsFile] = {}
        for file_name in files:
            file = SafetensorsFile(folder / file_name)
            for name in file.entries:
                if name in self._files:
                    raise ModelError(f"{file.path}: tensor {name} is also in {self._files[name].path}.")
                self._files[name] = file
        index = read_index(folder, "safetensors")
        if index is not None:
            check_index(index, {name: file.path.name for name, file in self._files.items()}, folder)
        check_tensors(
            spec,
            {name: file.entries[name].shape for name, file in self._files.items()},
            {name: str(file.path) for name, file in self._files.items()},
            str(folder),
            fewer_layers=fewer_layers,
        )

    def names(self) -> Sequence[str]:
        return list(self._shapes)

    def tensor(self, name: str) -> Tensor:
        shape, file = self._shapes[name], self._files[name]
        return convert(file.tensor(name), target_dtype(self._spec, shape), where=str(file.path))

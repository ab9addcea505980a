"""Reading a GGUF file's header: metadata and tensor directory, over a memory map.

The `gguf` package's own reader builds an object per string and takes seconds for a vocabulary; this one takes
milliseconds. Dequantisation is the package's (see gguf_weights).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vajra.models.errors import ModelError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 4

# ggml type -> (name, elements per block, bytes per block); those that can be served.
GGML_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    8: ("Q8_0", 32, 34),
    12: ("Q4_K", 256, 144),
    14: ("Q6_K", 256, 210),
    30: ("BF16", 1, 2),
}


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One entry of the tensor directory; `shape` in numpy's order (rows first), `offset` from the file's start."""

    name: str
    ggml_type: int
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


class GGUFFile:
    """A mapped GGUF file. `metadata` maps keys to Python values, `tensors` names to directory entries.

    Raises ModelError naming the file, and the tensor where there is one, when the file is not GGUF, is cut short,
    or holds a tensor of a type that cannot be dequantised.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as f:
                self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as e:  # ValueError: an empty file
            raise ModelError(f"{path} cannot be opened: {e}.") from e
        self._at = 0
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, IndexError, OverflowError) as e:
            raise ModelError(
                f"{path}: the GGUF header is cut short or corrupt at byte {self._at} ({e}). Fetch the file again."
            ) from e

    def data(self, tensor: GGUFTensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """The tensor's raw bytes, a read-only view of the map."""
        return np.frombuffer(self._map, dtype=np.uint8, count=tensor.num_bytes, offset=tensor.offset)

    def _read_header(self) -> None:
        if self._map[:4] != b"GGUF":
            raise ModelError(f"{self.path} is not a GGUF file.")
        self._at = 4
        version = self._scalar("I")
        if version not in (2, 3):
            raise ModelError(
                f"{self.path}: GGUF version {version} is not supported, only 2 and 3 (little-endian). Convert it anew."
            )
        num_tensors, num_keys = self._scalar("Q"), self._scalar("Q")
        for _ in range(num_keys):
            key = self._string()
            self.metadata[key] = self._value(self._scalar("I"))
        if self.metadata.get("split.count", 1) > 1:
            raise ModelError(f"{self.path} is one part of a split GGUF. Join the parts with gguf-split --merge first.")
        entries = [self._directory_entry() for _ in range(num_tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0:
            raise ModelError(f"{self.path}: general.alignment is {alignment!r}; it must be a positive integer.")
        start = -(-self._at // alignment) * alignment
        for name, shape, ggml_type, offset in entries:
            self._add_tensor(name, shape, ggml_type, start + offset)

    def _directory_entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        dims = [self._scalar("Q") for _ in range(self._scalar("I"))]
        return name, tuple(reversed(dims)), self._scalar("I"), self._scalar("Q")

    def _add_tensor(self, name: str, shape: tuple[int, ...], ggml_type: int, offset: int) -> None:
        if name in self.tensors:
            raise ModelError(f"{self.path}: tensor {name} is listed twice. Fetch the file again.")
        if ggml_type not in GGML_TYPES:
            known = ", ".join(entry[0] for entry in GGML_TYPES.values())
            raise ModelError(
                f"{self.path}: tensor {name} is of type {_type_name(ggml_type)}, which is not supported; {known} are. "
                f"Use a file with another quantisation, such as Q4_K_M or Q8_0."
            )
        _, block_elements, block_bytes = GGML_TYPES[ggml_type]
        if not shape or shape[-1] % block_elements:
            raise ModelError(f"{self.path}: tensor {name} of shape {list(shape)} has rows of broken blocks.")
        num_elements = 1
        for dim in shape:
            num_elements *= dim
        num_bytes = num_elements // block_elements * block_bytes
        if offset + num_bytes > len(self._map):
            raise ModelError(
                f"{self.path} is cut short: tensor {name} ends at byte {offset + num_bytes}, the file at "
                f"{len(self._map)}. Fetch the file again."
            )
        self.tensors[name] = GGUFTensor(name, ggml_type, shape, offset, num_bytes)

    def _scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._map, self._at)
        self._at += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        return self._bytes(self._scalar("Q")).decode("utf-8")

    def _bytes(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._map):
            raise struct.error("a string runs past the end")
        data = self._map[self._at : end]
        self._at = end
        return data

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or depth == _MAX_DEPTH:
            raise struct.error(f"value of unknown type {kind}")
        kind, count = self._scalar("I"), self._scalar("Q")
        if kind == _STRING:
            return self._strings(count)
        if kind in _SCALARS:
            values = np.frombuffer(self._bytes(count * struct.calcsize("<" + _SCALARS[kind])), "<" + _SCALARS[kind])
            return values.tolist()
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _strings(self, count: int) -> list[str]:
        """The vocabulary's hot loop."""
        unpack, data, at = struct.Struct("<Q").unpack_from, self._map, self._at
        size, result = len(data), []
        for _ in range(count):
            end = at + 8 + unpack(data, at)[0]
            if end > size:
                raise struct.error("a string runs past the end")
            result.append(data[at + 8 : end].decode("utf-8"))
            at = end
        self._at = at
        return result


def _type_name(ggml_type: int) -> str:
    from gguf import GGMLQuantizationType

    try:
        return str(GGMLQuantizationType(ggml_type).name)
    except ValueError:
        return f"number {ggml_type}"

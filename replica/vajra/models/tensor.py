"""Weights as numpy arrays, and the conversions between the float formats that models come in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vajra.models.errors import ModelError

Array = npt.NDArray[Any]

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),  # the bits; numpy has no bfloat16
}
_CHUNK_ELEMENTS = 1 << 18  # values in float32 at a time: 1 MiB, within a core's cache


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight. `dtype` is float32, float16 or bfloat16; bfloat16 arrays hold the bits as uint16.

    The array may be a read-only view of a mapped file.
    """

    name: str
    dtype: str
    array: Array


class WeightSource(Protocol):
    """A model's weights, read one at a time: nothing is held beyond the tensor that was asked for.

    Names and shapes are those that ModelSpec's docstring lists; all of them were found and had the right
    shape when the source was made. Matrices come in the model's dtype, norms and biases in float32.
    """

    def names(self) -> Sequence[str]:
        """Every tensor the model needs, in the order of the forward pass."""

    def tensor(self, name: str) -> Tensor:
        """Reads one tensor. Raises ModelError naming file and tensor, KeyError for a name not in `names`."""


def bfloat16_bits(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Rounds to bfloat16, to nearest even; NaN stays NaN. Returns the bits."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    result: npt.NDArray[np.uint16] = rounded.astype(np.uint16)
    nan = np.isnan(x)
    if nan.any():
        result[nan] = 0x7FC0
    return result


def to_float32(tensor: Tensor) -> npt.NDArray[np.float32]:
    """The tensor's values as float32; a copy unless they are float32 already."""
    if tensor.dtype == "bfloat16":
        return (tensor.array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return tensor.array.astype(np.float32, copy=False)


def convert(tensor: Tensor, dtype: str, *, where: str) -> Tensor:
    """The tensor in another dtype, rounded to nearest even; `where` names the file in an error.

    Raises ModelError when a finite value overflows float16.
    """
    if tensor.dtype == dtype:
        return tensor
    array = tensor.array

    def read(rows: slice) -> npt.NDArray[np.float32]:
        return to_float32(Tensor(tensor.name, tensor.dtype, array[rows]))

    return from_float32(tensor.name, array.shape, read, dtype, where=where)


def from_float32(
    name: str, shape: tuple[int, ...], read: Callable[[slice], npt.NDArray[np.float32]], dtype: str, *, where: str
) -> Tensor:
    """A tensor of `dtype` out of `read`, which yields rows [start, stop) as float32.

    A few rows at a time: the float32 form of a large embedding is never in memory whole. Errors as in `convert`.
    """
    result = np.empty(shape, NUMPY_DTYPES[dtype])
    row_elements = max(1, math.prod(shape[1:]))
    step = max(1, _CHUNK_ELEMENTS // row_elements)
    for start in range(0, shape[0], step):
        rows = slice(start, min(start + step, shape[0]))
        result[rows] = _rounded(name, read(rows), dtype, where)
    return Tensor(name, dtype, result)


def _rounded(name: str, values: npt.NDArray[np.float32], dtype: str, where: str) -> Array:
    if dtype == "float32":
        return values
    if dtype == "bfloat16":
        return bfloat16_bits(values)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if bool(np.any(np.isinf(half) & np.isfinite(values))):
        raise ModelError(
            f"{where}: tensor {name} has values beyond float16's range (65504). Use dtype bfloat16 or float32."
        )
    return half

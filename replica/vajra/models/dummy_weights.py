"""Random weights of the right shapes: a model to measure and test with, not to read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vajra.models.layout import expected_shapes, target_dtype
from vajra.models.spec import ModelSpec
from vajra.models.tensor import Tensor, convert

_STD = 0.02


class DummyWeights:
    """WeightSource of random weights, a function of seed and tensor name alone.

    Matrices and biases are uniform with standard deviation 0.02, norms are 1: activations stay finite at any depth.
    """

    def __init__(self, spec: ModelSpec, seed: int) -> None:
        self._spec, self._seed, self._shapes = spec, seed, expected_shapes(spec)

    def names(self) -> Sequence[str]:
        return list(self._shapes)

    def tensor(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return Tensor(name, "float32", np.ones(shape, np.float32))
        key = int.from_bytes(hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=16).digest(), "little")
        values = np.random.Generator(np.random.Philox(key=key)).random(shape, dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(_STD * 12**0.5)
        return convert(Tensor(name, "float32", values), target_dtype(self._spec, shape), where="dummy weights")

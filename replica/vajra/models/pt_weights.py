"""Weights out of torch.save files, by torch's restricted unpickler and a memory map. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vajra.models.checkpoint_files import check_index, read_index
from vajra.models.errors import ModelError
from vajra.models.layout import check_tensors, expected_shapes, target_dtype
from vajra.models.spec import ModelSpec
from vajra.models.tensor import Tensor, convert


class PtWeights:
    """WeightSource over one or several .bin, .pt or .pth files, each a dict from names to tensors."""

    def __init__(self, folder: Path, files: Sequence[str], spec: ModelSpec, *, fewer_layers: bool = False) -> None:
        self._spec, self._shapes = spec, expected_shapes(spec)
        self._tensors: dict[str, tuple[Path, Any]] = {}
        for file_name in files:
            for name, tensor in _load(folder / file_name).items():
                if name in self._tensors:
                    raise ModelError(f"{folder / file_name}: tensor {name} is also in {self._tensors[name][0]}.")
                self._tensors[name] = (folder / file_name, tensor)
        index = read_index(folder, "pt")
        if index is not None:
            check_index(index, {name: path.name for name, (path, _) in self._tensors.items()}, folder)
        check_tensors(
            spec,
            {name: tuple(tensor.shape) for name, (_, tensor) in self._tensors.items()},
            {name: str(path) for name, (path, _) in self._tensors.items()},
            str(folder),
            fewer_layers=fewer_layers,
        )

    def names(self) -> Sequence[str]:
        return list(self._shapes)

    def tensor(self, name: str) -> Tensor:
        import torch

        shape, (path, tensor) = self._shapes[name], self._tensors[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        tensor = tensor.detach().contiguous()
        if dtype == "bfloat16":
            tensor = tensor.view(torch.uint16)
        elif dtype not in ("float32", "float16"):
            raise ModelError(f"{path}: tensor {name} has dtype {dtype}; float32, float16 and bfloat16 are supported.")
        return convert(Tensor(name, dtype, tensor.numpy()), target_dtype(self._spec, shape), where=str(path))


def _load(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise ModelError(
            f"{path} can only be read with PyTorch, which is not installed. Install vajra[torch], or use the model's "
            f"safetensors files."
        ) from None
    if not path.is_file():
        raise ModelError(f"{path} does not exist. The download may be incomplete.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as e:  # torch raises many kinds for a damaged or dangerous file
        raise ModelError(
            f"{path} cannot be loaded ({str(e).splitlines()[0]}). Only plain weights in torch's zip format are read: "
            f"the file may be cut short, of an old format, or hold other objects."
        ) from e
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise ModelError(f"{path} must hold a dict from names to tensors.")
    return {str(name): tensor for name, tensor in state.items()}

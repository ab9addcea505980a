"""Weights out of a GGUF file: names and layout of Hugging Face, dequantised one tensor at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vajra.models.gguf_file import GGML_TYPES, GGUFFile, GGUFTensor
from vajra.models.layout import check_tensors, expected_shapes, target_dtype
from vajra.models.spec import ModelSpec
from vajra.models.tensor import Tensor, convert, from_float32

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_DIRECT = {"F32": ("<f4", "float32"), "F16": ("<f2", "float16"), "BF16": ("<u2", "bfloat16")}


def hugging_face_name(name: str) -> str:
    """A GGUF tensor name in Hugging Face's words; a name without a counterpart stays as it is."""
    if name in _TOP:
        return _TOP[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _IN_LAYER:
        return f"model.layers.{parts[1]}.{_IN_LAYER[parts[2]]}.{parts[3]}"
    return name


class GGUFWeights:
    """WeightSource over a mapped GGUF file."""

    def __init__(self, file: GGUFFile, spec: ModelSpec, *, fewer_layers: bool = False) -> None:
        self._file, self._spec = file, spec
        self._tensors = {hugging_face_name(t.name): t for t in file.tensors.values() if t.name != "rope_freqs.weight"}
        self._shapes = expected_shapes(spec)
        path = str(file.path)
        check_tensors(
            spec,
            {name: t.shape for name, t in self._tensors.items()},
            {name: f"{path} ({t.name})" for name, t in self._tensors.items()},
            path,
            fewer_layers=fewer_layers,
        )
        # llama files interleave the halves of each q and k head for llama.cpp's kind of rope; the others do not.
        self._interleaved = file.metadata["general.architecture"] == "llama"

    def names(self) -> Sequence[str]:
        return list(self._shapes)

    def tensor(self, name: str) -> Tensor:
        dtype = target_dtype(self._spec, self._shapes[name])
        tensor = read_tensor(self._file, self._tensors[name], name, dtype)
        if self._interleaved and name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = Tensor(name, tensor.dtype, _rejoin_halves(tensor.array, self._spec.head_dim))
        return tensor


def read_tensor(file: GGUFFile, entry: GGUFTensor, name: str, dtype: str) -> Tensor:
    """One tensor, dequantised and converted to `dtype`; a view of the file where it is of that dtype already."""
    kind, data, where = GGML_TYPES[entry.ggml_type][0], file.data(entry), str(file.path)
    if kind in _DIRECT:
        numpy_dtype, stored = _DIRECT[kind]
        return convert(Tensor(name, stored, data.view(numpy_dtype).reshape(entry.shape)), dtype, where=where)
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    blocks, ggml_type = data.reshape(*entry.shape[:-1], -1), GGMLQuantizationType(entry.ggml_type)
    return from_float32(name, entry.shape, lambda rows: dequantize(blocks[rows], ggml_type), dtype, where=where)


def _rejoin_halves(array: npt.NDArray[np.generic], head_dim: int) -> npt.NDArray[np.generic]:
    """Rows of each head from (0, d/2, 1, d/2 + 1, ...) back to (0, 1, 2, ...)."""
    rows, columns = array.shape
    return array.reshape(rows // head_dim, head_dim // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)

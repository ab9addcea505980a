"""Which tensors a model has, by Hugging Face's names, and what shape each must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from vajra.models.errors import ModelError
from vajra.models.spec import ModelSpec

Shape = tuple[int, ...]


def expected_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Every tensor that the engine reads, in the order of the forward pass."""
    hidden, inner = spec.hidden_size, spec.intermediate_size
    q, kv = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": (spec.vocab_size, hidden)}
    for i in range(spec.num_layers):
        attention, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        shapes[f"model.layers.{i}.input_layernorm.weight"] = (hidden,)
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            shapes[f"{attention}{part}_proj.weight"] = (rows, hidden)
            if spec.qkv_bias:
                shapes[f"{attention}{part}_proj.bias"] = (rows,)
        if spec.qk_norm:
            shapes[f"{attention}q_norm.weight"] = (spec.head_dim,)
            shapes[f"{attention}k_norm.weight"] = (spec.head_dim,)
        shapes[f"{attention}o_proj.weight"] = (hidden, q)
        shapes[f"model.layers.{i}.post_attention_layernorm.weight"] = (hidden,)
        shapes[f"{mlp}gate_proj.weight"] = (inner, hidden)
        shapes[f"{mlp}up_proj.weight"] = (inner, hidden)
        shapes[f"{mlp}down_proj.weight"] = (hidden, inner)
    shapes["model.norm.weight"] = (hidden,)
    if not spec.tie_embeddings:
        shapes["lm_head.weight"] = (spec.vocab_size, hidden)
    return shapes


def target_dtype(spec: ModelSpec, shape: Shape) -> str:
    """Matrices take the model's dtype; norms and biases stay float32, they are few and sensitive."""
    return spec.dtype if len(shape) > 1 else "float32"


_LAYER = re.compile(r"model\.layers\.(\d+)\.")


def check_tensors(
    spec: ModelSpec, found: Mapping[str, Shape], where: Mapping[str, str], folder: str, *, fewer_layers: bool = False
) -> None:
    """Raises ModelError when a needed tensor is missing, misshapen, or one is there that the model would not use.

    `found` maps names to shapes; `where` names each tensor's file. A surplus tensor means that the checkpoint
    is not the architecture that it says, and its answers would be wrong. With `fewer_layers` (override_num_layers)
    the layers beyond the spec's are no surplus.
    """
    expected = expected_shapes(spec)
    missing = [name for name in expected if name not in found]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} tensor(s) that {spec.architecture} needs are not in the checkpoint, the first "
            f"is {missing[0]}. The download may be incomplete, or config.json belongs to another model."
        )
    for name, shape in expected.items():
        if tuple(found[name]) != shape:
            raise ModelError(
                f"{where[name]}: tensor {name} has shape {list(found[name])}, but the configuration asks for "
                f"{list(shape)}. The file and the configuration do not belong together."
            )
    surplus = sorted(_surplus(spec, found, expected, fewer_layers))
    if surplus:
        raise ModelError(
            f"{where[surplus[0]]}: {len(surplus)} tensor(s) have no place in {spec.architecture}, the first is "
            f"{surplus[0]}. A model of this kind is not supported."
        )


def _surplus(spec: ModelSpec, found: Iterable[str], expected: Mapping[str, Shape], fewer_layers: bool) -> Iterable[str]:
    for name in found:
        layer = _LAYER.match(name)
        beyond = fewer_layers and layer is not None and int(layer.group(1)) >= spec.num_layers
        buffer = name.endswith("rotary_emb.inv_freq")  # old checkpoints saved it
        if name not in expected and not beyond and not buffer and name != "lm_head.weight":
            yield name

"""The Llama family's forward pass over paged KV in plain torch, one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from vajra.models.spec import ModelSpec, RopeSpec

if TYPE_CHECKING:
    from vajra.models import Tensor, WeightSource

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Rows:
    """One sequence's rows in a step: its last `num_query` tokens; `slots` [context] is where its KV lies."""

    num_query: int
    slots: torch.Tensor

    @property
    def context(self) -> int:
        return len(self.slots)


@dataclass(frozen=True, slots=True)
class _Layer:
    input_norm: torch.Tensor
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    o: torch.Tensor
    q_bias: torch.Tensor | None
    k_bias: torch.Tensor | None
    v_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    post_norm: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor


class TorchModel:
    """Weights, KV pool and forward pass on one device.

    The residual stream, norms and rotations are float32; matrices and KV have the model's dtype. float16 on a
    CPU is storage alone: values are rounded to float16, the arithmetic is float32.
    """

    def __init__(self, spec: ModelSpec, weights: WeightSource, *, num_slots: int, max_positions: int, device: str):
        self.spec = spec
        self.device = torch.device(device)
        self._dtype = _DTYPES[spec.dtype]
        as_storage = self._dtype == torch.float16 and self.device.type == "cpu"
        self._compute = torch.float32 if as_storage else self._dtype
        self._weights = weights
        self._embedding = self._matrix("model.embed_tokens", spec.vocab_size, spec.hidden_size)
        self._layers = [self._layer(i) for i in range(spec.num_layers)]
        self._norm = self._vector("model.norm.weight", spec.hidden_size)
        self._head = (
            self._embedding if spec.tie_embeddings else self._matrix("lm_head", spec.vocab_size, spec.hidden_size)
        )
        self._cos, self._sin = (t.to(self.device) for t in rope_table(spec.rope, max_positions))
        pool = (spec.num_layers, num_slots, spec.num_kv_heads, spec.head_dim)
        self._k = torch.zeros(pool, dtype=self._dtype, device=self.device)
        self._v = torch.zeros(pool, dtype=self._dtype, device=self.device)

    def forward(self, token_ids: torch.Tensor, rows: Sequence[Rows]) -> torch.Tensor:
        """Final hidden states [m, hidden] of the step's tokens [m], in the order of `rows`; writes their KV."""
        positions = torch.cat([torch.arange(r.context - r.num_query, r.context) for r in rows]).to(self.device)
        written = torch.cat([r.slots[r.context - r.num_query :] for r in rows])
        cos, sin = self._cos[positions, None], self._sin[positions, None]
        x = self._embedding[token_ids].float()
        for i, layer in enumerate(self._layers):
            x = x + self._attention(i, layer, self._rms_norm(x, layer.input_norm), cos, sin, rows, written)
            h = self._rms_norm(x, layer.post_norm)
            x = x + self._linear(F.silu(self._linear(h, layer.gate)) * self._linear(h, layer.up), layer.down)
        return self._rms_norm(x, self._norm)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [m, vocab] of hidden states [m, hidden]."""
        return self._linear(hidden, self._head)

    def _attention(
        self,
        index: int,
        layer: _Layer,
        h: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        rows: Sequence[Rows],
        written: torch.Tensor,
    ) -> torch.Tensor:
        d, group = self.spec.head_dim, self.spec.num_heads // self.spec.num_kv_heads
        q = self._linear(h, layer.q, layer.q_bias).unflatten(-1, (-1, d))
        k = self._linear(h, layer.k, layer.k_bias).unflatten(-1, (-1, d))
        v = self._linear(h, layer.v, layer.v_bias).unflatten(-1, (-1, d))
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = self._rms_norm(q, layer.q_norm), self._rms_norm(k, layer.k_norm)
        q, k = rotate(q, cos, sin).to(self._compute), rotate(k, cos, sin)
        keys, values = self._k[index], self._v[index]
        keys[written], values[written] = k.to(self._dtype), v.to(self._dtype)

        outputs = []
        for r, query in zip(rows, q.split([r.num_query for r in rows]), strict=True):
            causal = torch.ones(r.num_query, r.context, dtype=torch.bool, device=self.device)
            outputs.append(
                F.scaled_dot_product_attention(
                    query.transpose(0, 1)[None],
                    keys[r.slots].to(self._compute).transpose(0, 1).repeat_interleave(group, 0)[None],
                    values[r.slots].to(self._compute).transpose(0, 1).repeat_interleave(group, 0)[None],
                    attn_mask=causal.tril(r.context - r.num_query) if r.num_query > 1 else None,
                )[0].transpose(0, 1)
            )
        return self._linear(torch.cat(outputs).flatten(1), layer.o)

    def _rms_norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.spec.rms_norm_eps)

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        y = F.linear(x.to(self._compute), weight).float()
        return y if bias is None else y + bias

    def _layer(self, index: int) -> _Layer:
        spec, at = self.spec, f"model.layers.{index}."
        hidden, q_size, kv_size = spec.hidden_size, spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim

        def bias(name: str, size: int) -> torch.Tensor | None:
            return self._vector(f"{at}self_attn.{name}_proj.bias", size) if spec.qkv_bias else None

        def head_norm(name: str) -> torch.Tensor | None:
            return self._vector(f"{at}self_attn.{name}_norm.weight", spec.head_dim) if spec.qk_norm else None

        return _Layer(
            input_norm=self._vector(at + "input_layernorm.weight", hidden),
            q=self._matrix(at + "self_attn.q_proj", q_size, hidden),
            k=self._matrix(at + "self_attn.k_proj", kv_size, hidden),
            v=self._matrix(at + "self_attn.v_proj", kv_size, hidden),
            o=self._matrix(at + "self_attn.o_proj", hidden, q_size),
            q_bias=bias("q", q_size),
            k_bias=bias("k", kv_size),
            v_bias=bias("v", kv_size),
            q_norm=head_norm("q"),
            k_norm=head_norm("k"),
            post_norm=self._vector(at + "post_attention_layernorm.weight", hidden),
            gate=self._matrix(at + "mlp.gate_proj", spec.intermediate_size, hidden),
            up=self._matrix(at + "mlp.up_proj", spec.intermediate_size, hidden),
            down=self._matrix(at + "mlp.down_proj", hidden, spec.intermediate_size),
        )

    def _matrix(self, module: str, rows: int, columns: int) -> torch.Tensor:
        return self._load(module + ".weight", (rows, columns)).to(self._dtype).to(self._compute).to(self.device)

    def _vector(self, name: str, size: int) -> torch.Tensor:
        return self._load(name, (size,)).float().to(self.device)

    def _load(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        tensor = as_torch(self._weights.tensor(name))
        if tensor.shape != shape:
            raise ValueError(f"weight {name} has shape {list(tensor.shape)}, the model's spec wants {list(shape)}")
        return tensor


def as_torch(tensor: Tensor) -> torch.Tensor:
    """A weight as a torch tensor of its own memory."""
    copy = torch.from_numpy(tensor.array.copy())
    return copy.view(torch.bfloat16) if tensor.dtype == "bfloat16" else copy


def rope_table(rope: RopeSpec, max_positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, float32 [max_positions, head_dim / 2]."""
    positions = torch.arange(max_positions, dtype=torch.float32)
    angles = torch.outer(positions, torch.tensor(rope.inv_freq, dtype=torch.float32))
    return angles.cos() * rope.attention_factor, angles.sin() * rope.attention_factor


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x [m, heads, d] turned by cos and sin [m, 1, d / 2]; pairs are (i, i + d / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

"""The native engine. Use it through vajra.engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vajra.engine.api import EngineOptions, PlanItem
from vajra.engine.sampling import SamplingParams
from vajra.models.spec import ModelSpec

_Array = npt.NDArray[Any]
_Bits = npt.NDArray[np.uint16]
_Floats = npt.NDArray[np.float32]

NUMERICS_VERSION: int

def isa() -> str:
    """The kernel family that engines use: VAJRA_ISA obeyed."""

class ModelConfig:
    """Shapes of a model, read from a ModelSpec and checked."""

    @staticmethod
    def from_spec(spec: ModelSpec) -> ModelConfig: ...
    def kv_block_bytes(self, block_size: int) -> int:
        """Bytes of one KV block over all layers."""

class Weights:
    """Packed weights: a private arena or a cache file."""

    @staticmethod
    def in_memory(config: ModelConfig) -> Weights: ...
    @staticmethod
    def in_new_file(config: ModelConfig, path: str, descriptor: str) -> Weights: ...
    @staticmethod
    def from_file(config: ModelConfig, path: str, descriptor: str) -> Weights: ...
    def missing(self) -> list[str]:
        """Names still to be put, in the arena's order."""

    def put(self, name: str, dtype: str, array: npt.NDArray[Any]) -> None: ...
    def seal(self) -> None:
        """Completes a new cache file."""

    @property
    def nbytes(self) -> int: ...
    def content_hash(self) -> int: ...

class ops:  # a module inside the module, which a stub can only write as a class
    """The op table on numpy arrays, for tests and benchmarks. bfloat16 and float16 arrays are uint16 bits."""

    @staticmethod
    def host_isa() -> str:
        """The best kernel family of this processor."""

    @staticmethod
    def selected_isa() -> str:
        """host_isa(), lowered by VAJRA_ISA."""

    @staticmethod
    def amx_refusal() -> str:
        """Why AMX is not used on a processor that has it, or nothing."""

    @staticmethod
    def tile_dot(isa: str, a: npt.NDArray[np.uint16], b: npt.NDArray[np.uint16], c: _Floats) -> _Floats:
        """c[m, 16] + a[m, 32] b[16, 32] by one TDPBF16PS of isa amx or amx-emulated; b is [k / 2, (column, k % 2)]."""

    @staticmethod
    def emulated_tiles_in_use() -> int:
        """Threads that have not released their emulated tiles."""

    @staticmethod
    def usable_cpus(root: str = "") -> int:
        """Processors that affinity mask and cgroup quota allow."""

    class Matrix:
        """A packed weight [n, k]."""

        def __init__(self, dtype: str, n: int, k: int) -> None: ...
        def pack_rows(self, row0: int, src: _Array, src_dtype: str) -> None: ...
        @property
        def bits(self) -> _Bits: ...

    class KvPool:
        """One layer's KV pages."""

        def __init__(self, dtype: str, num_blocks: int, num_kv_heads: int, head_dim: int, block_size: int) -> None: ...
        @property
        def k_bits(self) -> _Bits: ...
        @property
        def v_bits(self) -> _Bits: ...

    class Sequences:
        """A step's sequences: (num_query, ctx_len, block_table) each."""

        def __init__(self, seqs: Sequence[tuple[int, int, Sequence[int]]], pool: ops.KvPool) -> None: ...

    class Ops:
        """A kernel family, or amx-emulated, with a thread pool."""

        def __init__(self, isa: str, threads: int = 1) -> None: ...
        def gemm(self, a: _Array, w: ops.Matrix, bias: _Floats | None = None, c: _Floats | None = None) -> _Floats:
            """a w^T + bias; into c, added to it, where given."""

        def embedding(self, w: ops.Matrix, ids: npt.NDArray[np.int32]) -> _Floats: ...
        def rmsnorm(
            self, x: _Floats, weight: _Floats, eps: float, dtype: str, rows: npt.NDArray[np.int32] | None = None
        ) -> _Array: ...
        def silu_mul(self, gate_up: _Floats, dtype: str) -> _Array: ...
        def rope_kv(
            self,
            qkv: _Floats,
            num_heads: int,
            pool: ops.KvPool,
            cos_sin: _Floats,
            seqs: ops.Sequences,
            q_norm: _Floats | None = None,
            k_norm: _Floats | None = None,
            eps: float = 0.0,
        ) -> _Array: ...
        def attention(self, q: _Array, pool: ops.KvPool, seqs: ops.Sequences, scale: float) -> tuple[_Array, _Floats]:
            """(out, lse)"""

_Sampled = tuple[int, int, int, float | None, Sequence[tuple[int, float]]]
_Output = tuple[list[_Sampled], dict[int, npt.NDArray[np.float32]], float]

class Step:
    """A submitted step."""

    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> _Output | None:
        """(tokens, logits, seconds) once, or None when the time ran out; RuntimeError when the step failed."""

class Engine:
    """Sequences and a queue of steps over one model."""

    def __init__(self, weights: Weights, options: EngineOptions) -> None: ...
    def add_sequence(
        self, seq_id: int, token_ids: Sequence[int], num_prompt_tokens: int, sampling: SamplingParams
    ) -> None: ...
    def submit(self, step_id: int, items: list[PlanItem], preempted: Sequence[int]) -> Step: ...
    def free_sequence(self, seq_id: int) -> None: ...
    def close(self) -> None: ...
    @property
    def kernels(self) -> str:
        """Name of the kernel family."""

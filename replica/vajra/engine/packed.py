"""Packed weights: streamed from a WeightSource once, kept in a cache file that every worker maps."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vajra.engine import _native
from vajra.models.cache import cache_dir

if TYPE_CHECKING:
    from vajra.models.spec import ModelSpec
    from vajra.models.tensor import WeightSource

log = logging.getLogger(__name__)

PACK_VERSION = 1  # raised when the packed layout or the conversion into it changes
KEEP_BYTES = 64 << 30  # of packed weights; beyond it those go that no engine has opened for longest


def packed_dir() -> Path:
    """Where packed weights are kept: below the models' cache ($VAJRA_CACHE)."""
    return cache_dir() / "packed"


def descriptor(spec: ModelSpec, cache_key: str) -> str:
    """Everything that a packed file's bytes depend on, in words; stands in the file's header."""
    shape = (
        f"vocab={spec.vocab_size} hidden={spec.hidden_size} intermediate={spec.intermediate_size} "
        f"layers={spec.num_layers} heads={spec.num_heads}/{spec.num_kv_heads}x{spec.head_dim} "
        f"tied={spec.tie_embeddings:d} qkv_bias={spec.qkv_bias:d} qk_norm={spec.qk_norm:d}"
    )
    return f"pack={PACK_VERSION} dtype={spec.dtype} {shape} content={cache_key}"


def load_weights(spec: ModelSpec, source: WeightSource, cache_key: str | None) -> _native.Weights:
    """Weights ready for an engine; from the cache file when there is one, else packed tensor by tensor.

    A cache that cannot be written costs a warning, never the load.
    """
    config = _native.ModelConfig.from_spec(spec)
    if cache_key is None:
        return _fill(_native.Weights.in_memory(config), source)
    text = descriptor(spec, cache_key)
    path = packed_dir() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.bin"
    if (cached := _open(config, path, text)) is not None:
        return cached
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if (cached := _open(config, path, text)) is not None:  # another process packed it meanwhile
                return cached
            for left in path.parent.glob(f"{path.stem}.*.part"):  # by a process that was killed
                left.unlink(missing_ok=True)
            try:
                fresh = _native.Weights.in_new_file(config, str(part), text)
            except RuntimeError as e:
                raise OSError(str(e)) from e
            try:
                _fill(fresh, source)
                fresh.seal()
                part.replace(path)
                evict(path, KEEP_BYTES)
            finally:
                part.unlink(missing_ok=True)
            del fresh  # its writable mapping goes before the shared one comes
    except OSError as e:
        log.warning("packed weights are not cached in %s: %s", path.parent, e)
        return _fill(_native.Weights.in_memory(config), source)
    return _native.Weights.from_file(config, str(path), text)


def _fill(weights: _native.Weights, source: WeightSource) -> _native.Weights:
    for name in weights.missing():
        tensor = source.tensor(name)
        weights.put(name, tensor.dtype, tensor.array)
    return weights


def _open(config: _native.ModelConfig, path: Path, text: str) -> _native.Weights | None:
    if not path.exists():
        return None
    try:
        weights = _native.Weights.from_file(config, str(path), text)
        with contextlib.suppress(OSError):  # another's cache, or a read-only one
            os.utime(path)
        return weights
    except RuntimeError as e:
        log.warning("packing the weights again: %s", e)
        return None


def evict(newest: Path, keep_bytes: int) -> None:
    """Deletes packed files beside `newest`, the longest unused first, until all take at most `keep_bytes`.

    A file that an engine has mapped lives on until that engine ends.
    """
    used: list[tuple[float, int, Path]] = []
    for file in newest.parent.glob("*.bin"):
        with contextlib.suppress(FileNotFoundError):  # another process evicts too
            stat = file.stat()
            used.append((stat.st_mtime, stat.st_size, file))
    total = sum(size for _, size, _ in used)
    for _, size, file in sorted(used):
        if total <= keep_bytes:
            break
        if file != newest:
            log.info("%s makes room for other packed weights", file)
            file.unlink(missing_ok=True)
            total -= size


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield

"""Packed weights: streamed from a WeightSource once, kept in a cache file that every worker maps."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vajra.engine import _native
from vajra.models.cache import cache_dir

if TYPE_CHECKING:
    from vajra.models.spec import ModelSpec
    from vajra.models.tensor import WeightSource

log = logging.getLogger(__name__)

PACK_VERSION = 2  # raised when the packed layout or the conversion into it changes
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
    return f"pack={PACK_VERSION} dtype={spec.dtype} quantization={spec.quantization} {shape} content={cache_key}"


def load_weights(spec: ModelSpec, source: WeightSource, cache_key: str | None) -> _native.Weights:
    """Weights ready for an engine; from the cache file when there is a sound one, else packed tensor by tensor.

    A cache that cannot be written costs a warning, never the load.
    """
    config = _native.ModelConfig.from_spec(spec)
    if cache_key is None:
        return _fill(_native.Weights.in_memory(config), source)
    entry = _Entry(config, descriptor(spec, cache_key))
    if (cached := entry.open()) is not None:
        return cached
    try:
        packed_dir().mkdir(parents=True, exist_ok=True)
        with _locked(entry.lock):
            # Another process may have packed it meanwhile.
            cached = entry.open() or entry.pack(source)
    except OSError as e:
        log.warning("packed weights are not cached in %s: %s", packed_dir(), e)
        cached = None
    return cached or _fill(_native.Weights.in_memory(config), source)


class _Entry:
    """One model's place in the cache: `<stem>-<checksum>.bin`.

    The name carries the checksum of the packed bits, so that one rename publishes both, and a file is what its name
    says or is not used.
    """

    def __init__(self, config: _native.ModelConfig, text: str) -> None:
        self._config, self._text = config, text
        self._stem = hashlib.sha256(text.encode()).hexdigest()[:32]
        self.lock = packed_dir() / f"{self._stem}.lock"

    def open(self) -> _native.Weights | None:
        """The weights mapped and checked, every bit of them; None when there is no file, or none that is sound."""
        for path in sorted(packed_dir().glob(f"{self._stem}-*.bin")):
            try:
                weights = _native.Weights.from_file(self._config, str(path), self._text)
            except RuntimeError as e:
                log.warning("packing the weights again: %s", e)
                continue
            if _checksum(weights) == path.stem.rpartition("-")[2]:
                with contextlib.suppress(OSError):  # another's cache, or a read-only one
                    os.utime(path)
                return weights
            log.warning("packing the weights again: %s is damaged, its checksum is not the one in its name", path)
        return None

    def pack(self, source: WeightSource) -> _native.Weights | None:
        """Packs into a new file and maps it, under the lock. Raises OSError when it cannot be written; None when
        what is read back is not what was written."""
        for left in packed_dir().glob(f"{self._stem}*"):  # damaged, or by a process that was killed
            if left != self.lock:
                left.unlink(missing_ok=True)
        part = packed_dir() / f"{self._stem}.{secrets.token_hex(8)}.part"
        try:
            fresh = _native.Weights.in_new_file(self._config, str(part), self._text)
        except RuntimeError as e:
            raise OSError(str(e)) from e
        try:
            _fill(fresh, source)
            fresh.seal()
            path = packed_dir() / f"{self._stem}-{_checksum(fresh)}.bin"
            part.chmod(0o444)  # workers have it mapped: nothing writes into it, by accident either
            part.replace(path)
            evict(path, KEEP_BYTES)
        finally:
            part.unlink(missing_ok=True)
        del fresh  # its writable mapping goes before the shared one comes
        return self.open()


def _checksum(weights: _native.Weights) -> str:
    return f"{weights.content_hash():016x}"


def _fill(weights: _native.Weights, source: WeightSource) -> _native.Weights:
    for name in weights.missing():
        tensor = source.tensor(name)
        weights.put(name, tensor.dtype, tensor.array)
    return weights


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

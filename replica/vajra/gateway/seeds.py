"""Seeds: one per request, one of its own for each choice."""

from __future__ import annotations

import hashlib
import secrets


def draw_seed() -> int:
    """64 random bits, for a request that brings none: they make it resumable."""
    return secrets.randbits(64)


def choice_seed(seed: int, index: int) -> int:
    """hash(seed, index), 64 bits. Choice 0 keeps the seed itself: the first of n is what n = 1 would give."""
    if index == 0:
        return seed
    digest = hashlib.blake2b(seed.to_bytes(8, "little") + index.to_bytes(4, "little"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")

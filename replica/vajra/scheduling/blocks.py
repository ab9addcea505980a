"""Reference-counted KV blocks of one pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class OutOfBlocks(RuntimeError):
    """More blocks were asked for than are free; a caller of `allocate` looks at `free` first."""


class IntegrityError(AssertionError):
    """The books of the block manager do not balance: a fault of ours, never of a request."""


class BlockManager:
    """Hands out block ids 0..num_blocks-1. A block is free when nobody refers to it.

    `watermark` blocks (1% of the pool) are kept back from admissions, for the sequences that are already
    resident; with nothing resident they are not needed and a maximal sequence can have the whole pool.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        if num_blocks <= 0 or block_size <= 0:
            raise ValueError(f"num_blocks and block_size must be positive, not {num_blocks} and {block_size}")
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.watermark = num_blocks // 100
        self._free = list(range(num_blocks - 1, -1, -1))  # a stack: the block freed last is warm in the cache
        self._refs = [0] * num_blocks

    @property
    def free(self) -> int:
        """Blocks nobody refers to."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Blocks somebody refers to."""
        return self.num_blocks - len(self._free)

    @property
    def admissible(self) -> int:
        """Blocks that an admission may take."""
        free = len(self._free)
        return free if free == self.num_blocks else max(0, free - self.watermark)

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that hold `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """Takes `count` free blocks, each with one reference. Raises OutOfBlocks and takes none."""
        if count > len(self._free):
            raise OutOfBlocks(f"{count} KV blocks asked for, {len(self._free)} of {self.num_blocks} free")
        if count == 0:
            return []
        taken = self._free[-count:][::-1]
        del self._free[-count:]
        for block in taken:
            self._refs[block] = 1
        return taken

    def share(self, blocks: Iterable[int]) -> None:
        """Adds a reference to each of `blocks`, which are in use."""
        for block in blocks:
            if self._refs[block] == 0:
                raise IntegrityError(f"KV block {block} is shared but free")
            self._refs[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Drops a reference to each of `blocks`; those without another one become free."""
        for block in blocks:
            refs = self._refs[block] - 1
            if refs < 0:
                raise IntegrityError(f"KV block {block} is released but free")
            self._refs[block] = refs
            if refs == 0:
                self._free.append(block)

    def check_integrity(self, owners: Iterable[Sequence[int]]) -> None:
        """Audits the books against the owners' block lists: owned + free = total, references as many as owners,
        no owner with a block twice. Raises IntegrityError. Linear in the number of blocks."""
        owned: Counter[int] = Counter()
        for blocks in owners:
            if len(set(blocks)) != len(blocks):
                raise IntegrityError(f"an owner holds a KV block twice: {list(blocks)}")
            owned.update(blocks)
        if len(set(self._free)) != len(self._free):
            raise IntegrityError("a KV block is in the free list twice")
        for block in self._free:
            if self._refs[block] or owned[block]:
                raise IntegrityError(f"KV block {block} is free and owned")
        for block, refs in enumerate(self._refs):
            if refs != owned[block]:
                raise IntegrityError(f"KV block {block} has {refs} references and {owned[block]} owners")
        if len(self._free) + sum(1 for refs in self._refs if refs) != self.num_blocks:
            raise IntegrityError("owned and free KV blocks do not add up to the pool")

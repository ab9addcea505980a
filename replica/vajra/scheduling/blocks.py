"""Reference-counted KV blocks of one pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vajra.scheduling.runs import RunAllocator

GROWTH_BLOCKS = 64  # the most places kept behind a sequence's blocks


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
        self._runs = RunAllocator(num_blocks)
        self._refs = [0] * num_blocks

    @property
    def free(self) -> int:
        """Blocks nobody refers to."""
        return self._runs.free

    @property
    def used(self) -> int:
        """Blocks somebody refers to."""
        return self.num_blocks - self.free

    @property
    def admissible(self) -> int:
        """Blocks that an admission may take."""
        return self.free if self.free == self.num_blocks else max(0, self.free - self.watermark)

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that hold `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def allocate(self, count: int, growth: int = 0) -> list[int]:
        """Takes `count` free blocks, each with one reference: neighbours where possible, with places for up to `growth`
        more behind them. Raises OutOfBlocks and takes none."""
        self._check_free(count)
        taken = self._runs.take(count, min(growth, GROWTH_BLOCKS))
        for block in taken:
            self._refs[block] = 1
        return taken

    def grow(self, last: int, growth: int = 0) -> int:
        """One more block for the owner of `last`, his last one, who may want `growth` more: its neighbour where
        possible. Raises OutOfBlocks."""
        self._check_free(1)
        block = self._runs.take_after(last, min(growth, GROWTH_BLOCKS))
        self._refs[block] = 1
        return block

    def share(self, blocks: Iterable[int]) -> None:
        """Adds a reference to each of `blocks`, which are in use."""
        for block in blocks:
            if self._refs[block] == 0:
                raise IntegrityError(f"KV block {block} is shared but free")
            self._refs[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Drops a reference to each of `blocks`; those without another one become free."""
        refs = self._refs
        free: list[int] = []
        for block in blocks:
            left = refs[block] - 1
            if left < 0:
                raise IntegrityError(f"KV block {block} is released but free")
            refs[block] = left
            if left == 0:
                free.append(block)
        self._runs.give_back(free)

    def check_integrity(self, owners: Iterable[Sequence[int]]) -> None:
        """Audits the books against the owners' block lists: owned + free = total, references as many as owners,
        no owner with a block twice. Raises IntegrityError. Linear in the number of blocks."""
        owned: Counter[int] = Counter()
        for blocks in owners:
            if len(set(blocks)) != len(blocks):
                raise IntegrityError(f"an owner holds a KV block twice: {list(blocks)}")
            owned.update(blocks)
        expected = [0] * self.num_blocks
        for block, count in owned.items():
            expected[block] = count
        if expected != self._refs:
            block = next(b for b in range(self.num_blocks) if expected[b] != self._refs[b])
            raise IntegrityError(f"KV block {block} has {self._refs[block]} references and {expected[block]} owners")
        if faults := self._runs.faults(owned):
            raise IntegrityError("; ".join(faults))

    def _check_free(self, count: int) -> None:
        if count > self.free:
            raise OutOfBlocks(f"{count} KV blocks asked for, {self.free} of {self.num_blocks} free")

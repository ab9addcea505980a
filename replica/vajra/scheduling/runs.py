"""Which of a pool's blocks are free, handed out in runs of neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_FREE, _TAKEN, _KEPT = 0, 1, 2


class RunAllocator:
    """First-fit allocation of block ids 0..num_blocks-1 in runs.

    A sequence's KV is read from end to end for every token, and neighbouring blocks are one stream from memory, which
    is twice as fast as the same blocks scattered. So a sequence gets its first blocks side by side, and the place
    behind them is kept for its growth as long as nobody else needs it. Low ids come first, for memory that was never
    touched costs nothing.
    """

    def __init__(self, num_blocks: int) -> None:
        self._state = bytearray(num_blocks)
        self._kept: dict[int, int] = {}  # runs behind a taken block, kept for its owner: first id to end
        self._lowest = 0  # no free id is lower
        self.free = num_blocks  # kept ones included

    def take(self, count: int, room: int = 0) -> list[int]:
        """`count` blocks of the `free` ones, in ascending order; side by side, and with `room` places kept behind them,
        if there is such a place."""
        if count == 0:
            return []
        start = self._find(count + room)
        if start < 0:
            room = 0
            start = self._find(count)
        if start < 0:
            self._drop_kept()
            start = self._find(count)
        if start < 0:
            return self._take_scattered(count)
        end = start + count
        self._state[start:end] = bytes([_TAKEN]) * count
        self.free -= count
        self._keep(end, end + room)
        if start == self._lowest:
            self._lowest = end
        return list(range(start, end))

    def take_after(self, block: int, room: int = 0) -> int:
        """One block of the `free` ones: the neighbour of `block`, its owner's last one, if it is free or kept for him;
        else one with `room` places kept behind it."""
        following = block + 1
        kept_end = self._kept.pop(following, None)
        if kept_end is None and (following >= len(self._state) or self._state[following] != _FREE):
            return self.take(1, room)[0]
        self._state[following] = _TAKEN
        self.free -= 1
        if kept_end is not None:
            self._keep(following + 1, kept_end)
        return following

    def give_back(self, blocks: Sequence[int]) -> None:
        """Frees taken blocks, and what was kept behind them."""
        state, kept = self._state, self._kept
        for block in blocks:
            state[block] = _FREE
            kept_end = kept.pop(block + 1, 0)
            if kept_end:
                state[block:kept_end] = bytes(kept_end - block)
        self.free += len(blocks)
        self._lowest = min(self._lowest, min(blocks, default=self._lowest))

    def faults(self, taken: Iterable[int]) -> list[str]:
        """What does not balance, given the blocks that should be taken."""
        expected = set(taken)
        kept = [range(start, end) for start, end in self._kept.items()]
        faults = [
            f"the place behind KV block {run[0] - 1} is kept for nobody" for run in kept if run[0] - 1 not in expected
        ]
        states = bytearray(len(self._state))
        for block in expected:
            states[block] = _TAKEN
        for run in kept:
            if any(states[run[0] : run[-1] + 1]):
                faults.append(f"KV blocks {run[0]} to {run[-1]} are kept and taken")
            states[run[0] : run[-1] + 1] = bytes([_KEPT]) * len(run)
        if states != self._state:
            block = next(b for b in range(len(states)) if states[b] != self._state[b])
            faults.append(f"KV block {block} is in state {self._state[block]}, not {states[block]}")
        if self.free != len(states) - len(expected):
            faults.append(f"{self.free} KV blocks are counted as free, {len(states) - len(expected)} are")
        return faults

    def _find(self, count: int) -> int:
        self._lowest = max(self._state.find(_FREE, self._lowest), 0)
        return self._state.find(bytes(count), self._lowest)

    def _keep(self, start: int, end: int) -> None:
        if start < end:
            self._kept[start] = end
            self._state[start:end] = bytes([_KEPT]) * (end - start)

    def _drop_kept(self) -> None:
        for start, end in self._kept.items():
            self._state[start:end] = bytes(end - start)
        self._lowest = min([self._lowest, *self._kept])
        self._kept.clear()

    def _take_scattered(self, count: int) -> list[int]:
        taken: list[int] = []
        block = self._lowest
        for _ in range(count):
            block = self._state.find(_FREE, block)
            self._state[block] = _TAKEN
            taken.append(block)
        self.free -= count
        return taken

"""KV blocks: nothing lost or doubled, everything usable, neighbours where there is room."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vajra.scheduling import BlockManager, OutOfBlocks

POOL = 40


class Pool(RuleBasedStateMachine):
    """Owners come, grow, share and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = BlockManager(POOL, 16)
        self.owners: list[list[int]] = []

    @rule(count=st.integers(0, POOL), growth=st.integers(0, POOL))
    def arrives(self, count: int, growth: int) -> None:
        if count > self.manager.free:
            with pytest.raises(OutOfBlocks):
                self.manager.allocate(count, growth)
        else:
            blocks = self.manager.allocate(count, growth)
            assert len(blocks) == count
            self.owners.append(blocks)

    @precondition(lambda self: any(self.owners))
    @rule(pick=st.randoms(use_true_random=False), growth=st.integers(0, POOL))
    def grows(self, pick: object, growth: int) -> None:
        owner = pick.choice([o for o in self.owners if o])  # type: ignore[attr-defined]
        if self.manager.free:
            owner.append(self.manager.grow(owner[-1], growth))
        else:
            with pytest.raises(OutOfBlocks):
                self.manager.grow(owner[-1], growth)

    @precondition(lambda self: self.owners)
    @rule(pick=st.randoms(use_true_random=False))
    def is_shared(self, pick: object) -> None:
        blocks = list(pick.choice(self.owners))  # type: ignore[attr-defined]
        self.manager.share(blocks)
        self.owners.append(blocks)

    @precondition(lambda self: self.owners)
    @rule(pick=st.randoms(use_true_random=False))
    def goes(self, pick: object) -> None:
        self.manager.release(self.owners.pop(pick.randrange(len(self.owners))))  # type: ignore[attr-defined]

    @precondition(lambda self: self.manager.free)
    @rule()
    def the_rest_is_usable(self) -> None:
        rest = self.manager.allocate(self.manager.free)
        assert self.manager.free == 0
        self.manager.release(rest)

    @invariant()
    def books_balance(self) -> None:
        self.manager.check_integrity(self.owners)
        assert self.manager.used == len({block for owner in self.owners for block in owner})


TestPool = Pool.TestCase


def is_run(blocks: list[int]) -> bool:
    return blocks == list(range(blocks[0], blocks[0] + len(blocks)))


def test_owners_that_grow_in_turn_keep_their_blocks_side_by_side() -> None:
    manager = BlockManager(100, 16)
    owners = [manager.allocate(3, growth=5) for _ in range(10)]
    for left in range(4, -1, -1):
        for owner in owners:
            owner.append(manager.grow(owner[-1], left))
    assert all(is_run(owner) for owner in owners)
    assert max(max(owner) for owner in owners) == 79, "low ids first"


def test_a_place_is_kept_only_while_nobody_needs_it() -> None:
    manager = BlockManager(10, 16)
    first = manager.allocate(2, growth=6)
    second = manager.allocate(8)
    assert sorted(first + second) == list(range(10))
    manager.release(second)
    manager.release(first)
    manager.check_integrity([])


def test_what_an_owner_leaves_can_be_a_run_again() -> None:
    manager = BlockManager(32, 16)
    owners = [manager.allocate(4, growth=4) for _ in range(4)]
    for owner in owners[1:3]:
        manager.release(owner)
    assert is_run(manager.allocate(16))

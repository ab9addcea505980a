"""One sequence as a scheduler sees it: counts of tokens, KV blocks, a ledger; no token ids, no text."""

from __future__ import annotations

from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from vajra.scheduling.ahead import AheadCounts


class BatchItem(NamedTuple):
    """One sequence's share of a batch; `new_block_ids` extend its block table."""

    seq_id: int
    num_query_tokens: int
    new_block_ids: SequenceABC[int]


class SequenceState(Enum):
    """Where a sequence is. RUNNING is in a batch in flight; PAUSED is resident (KV kept) between batches."""

    WAITING = "waiting"  # holds no blocks: new
    PREEMPTED = "preempted"  # holds no blocks: gave them up, or lost them with a worker
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


class Blocked(Enum):
    """What kept a sequence out of a batch."""

    __hash__ = object.__hash__  # Enum's is slow, and these are counted for all that waits

    SLOTS = "slots"  # as many residents as a batch can hold
    BUDGET = "budget"  # the batch's tokens were spent on others
    MEMORY = "memory"  # too few free KV blocks for the whole prompt
    ORDER = "order"  # memory would do, but a request before it waits for more of it
    ISOLATION = "isolation"  # another sequence runs alone, for it may be what kills the worker


@dataclass(slots=True)
class Ledger:
    """Why a request took as long as it did. Times are seconds on the caller's clock."""

    arrival: float
    first_scheduled: float | None = None
    first_token: float | None = None
    batches: int = 0  # batches it took part in
    chunks: list[int] = field(default_factory=list)  # prefill chunks, in tokens, recomputation included
    blocked: dict[Blocked, int] = field(default_factory=dict)  # schedules that left it out, by reason
    ahead: AheadCounts = field(default_factory=AheadCounts)  # for whom
    pauses: int = 0  # times that it sat out one batch or more, though it had begun and kept its KV blocks
    preemptions: int = 0  # KV blocks given up for older sequences
    failovers: int = 0  # workers lost under it
    discarded: int = 0  # tokens planned after it had ended
    predicted_prefill: float | None = None  # seconds, as expected when it came
    slack: float | None = None  # seconds from its first token to its deadline, negative when it was late

    def block(self, reason: Blocked) -> None:
        """Counts one batch that went without it."""
        self.blocked[reason] = self.blocked.get(reason, 0) + 1


class Sequence:
    """A prompt and its continuation, as counts.

    `planned` counts the tokens that will exist when the batches in flight are done: a batch whose query
    reaches the last token samples one more, so `planned` runs ahead of `known` by the tokens in flight.
    `processed` counts those whose KV is written then. Everything up to `prefill_end` is prefill: the prompt
    and, after a preemption, what had been generated before it.
    """

    __slots__ = (
        "arrival",
        "blocks",
        "decode",
        "finished",
        "in_flight",
        "known",
        "last_step",
        "last_token",
        "ledger",
        "name",
        "num_prompt_tokens",
        "planned",
        "prefill_end",
        "processed",
        "seq_id",
        "tenant",
        "tenant_weight",
        "ttft_target",
    )

    def __init__(
        self,
        seq_id: int,
        num_tokens: int,
        num_prompt_tokens: int,
        max_tokens: int,
        *,
        arrival: float,
        ttft_target: float | None = None,
        name: str = "",
        tenant: str = "",
        tenant_weight: float = 1.0,
    ) -> None:
        """`num_tokens` exceeds `num_prompt_tokens` by what was generated before (resume); `max_tokens` new tokens
        count from the prompt's boundary. `arrival` and `ttft_target` are times on the caller's clock. `name` is what
        ledgers of the same tenant call it, its id by default."""
        if not 0 < num_prompt_tokens <= num_tokens:
            raise ValueError(f"num_prompt_tokens is {num_prompt_tokens}; it must be in 1..{num_tokens}")
        if num_tokens >= num_prompt_tokens + max_tokens:
            raise ValueError(f"max_tokens is {max_tokens}; {num_tokens - num_prompt_tokens} tokens exist already")
        self.seq_id = seq_id
        self.num_prompt_tokens = num_prompt_tokens
        self.last_token = num_prompt_tokens + max_tokens  # planned never exceeds it
        self.arrival = arrival
        self.ttft_target = ttft_target
        self.name = name or str(seq_id)
        self.tenant, self.tenant_weight = tenant, tenant_weight
        self.known = num_tokens
        self.planned = num_tokens
        self.prefill_end = num_tokens
        self.processed = 0
        self.in_flight = 0  # batches in flight that hold it
        self.last_step = -1  # the last of its batches
        self.blocks: list[int] = []
        self.decode = BatchItem(seq_id, 1, ())  # its share of nearly every batch, and there are many
        self.finished = False
        self.ledger = Ledger(arrival)

    def leave_out(self, reason: Blocked, instead: Sequence | None) -> None:
        """Books one batch that goes without it and, if anybody has what it lacks, with `instead`."""
        self.ledger.block(reason)
        if instead is not None and instead is not self:
            self.ledger.ahead.note(instead.name if instead.tenant == self.tenant else "")

    @property
    def state(self) -> SequenceState:
        """Derived from what it holds; see SequenceState."""
        if self.finished:
            return SequenceState.FINISHED
        if self.in_flight:
            return SequenceState.RUNNING
        if self.blocks:
            return SequenceState.PAUSED
        return SequenceState.PREEMPTED if self.ledger.preemptions or self.ledger.failovers else SequenceState.WAITING

    @property
    def remaining_prefill(self) -> int:
        """Prefill tokens not yet planned; 0 for a decode."""
        return max(0, self.prefill_end - self.processed)

    @property
    def fully_planned(self) -> bool:
        """Whether its last token is in flight or known: nothing is left to plan."""
        return self.planned == self.last_token

    def reset(self, num_tokens: int) -> None:
        """Starts again at token 0 with `num_tokens` tokens to process; the caller has taken its blocks."""
        self.planned = self.prefill_end = num_tokens
        self.processed = 0

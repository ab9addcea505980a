"""One choice of one request: what travels to a replica, and what came back so far. The unit of dispatch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vajra.dispatch.v1 import dispatch_pb2
from vajra.gateway.api_keys import Tenant
from vajra.gateway.ledger import MOST_NAMED, Stay, ahead_of
from vajra.gateway.output import ChoiceOutput
from vajra.gateway.request import Delta, FinishReason, TokenLogprob, Usage
from vajra.gateway.stream import DeltaStream
from vajra.gateway.validation import Params
from vajra.inference.v1 import inference_pb2
from vajra.scheduling import AheadCounts, Blocked, QueuedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vajra.gateway.replica_link import ReplicaLink

_MERGE_SECONDS = 0.1  # of tokens that nobody waits for: a message each would take time from the engine's cores

_REASONS = {
    inference_pb2.FINISH_REASON_STOP: FinishReason.STOP,
    inference_pb2.FINISH_REASON_LENGTH: FinishReason.LENGTH,
}


@dataclass(slots=True, eq=False)
class Choice:
    """Everything that a resume needs: prompt, generated tokens (in `output`), boundary, seed."""

    sequence_id: str
    prompt: Sequence[int]
    params: Params
    max_tokens: int
    seed: int
    arrival: float  # on the loop's clock
    deadline: float | None
    ttft_target: float | None  # when its first token is due
    tenant: Tenant
    output: ChoiceOutput
    stream: DeltaStream
    granted: asyncio.Future[ReplicaLink] | None = None  # while it waits in the queue
    waiting_since: float = 0.0
    queued: QueuedRequest | None = None  # as it stood in the queue last
    queue_blocked: dict[Blocked, int] = field(default_factory=dict)
    queue_ahead: AheadCounts = field(default_factory=AheadCounts)
    stay: Stay | None = None  # the one under way
    stays: list[Stay] = field(default_factory=list)  # those that ended
    attempts: int = 0  # Run streams opened
    dispatched: float = 0.0  # when the last one was
    first_dispatched: float | None = None
    first_token: float | None = None
    last_token: float = 0.0
    fingerprint: str = ""  # of the replica that generated the first token
    queue_time: float | None = None
    prefill_time: float | None = None
    preemptions: int = 0
    failovers: int = 0
    fruitless: int = 0  # replicas lost in a row without a token between
    inexact: bool = False
    usage: Usage | None = None  # this and the next once it has ended
    finish_reason: FinishReason | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens that need KV blocks when it starts or resumes."""
        return len(self.prompt) + len(self.output.token_ids)

    def __post_init__(self) -> None:
        self.waiting_since = self.arrival

    def begin_stay(self, now: float) -> None:
        """A replica has room for it."""
        self.stay = Stay(
            queue_seconds=now - self.waiting_since,
            queue_blocked={reason.value: count for reason, count in self.queue_blocked.items()},
            queue_ahead=ahead_of(self.queue_ahead.most(MOST_NAMED)),
        )

    def refused(self) -> None:
        """The replica has not taken it after all: the wait goes on."""
        self.stay = None

    def end_stay(self, now: float) -> None:
        """It waits again, unless it never ceased to."""
        if self.stay is not None:
            self.stays.append(self.stay)
            self.stay, self.waiting_since = None, now
            self.queue_blocked, self.queue_ahead = {}, AheadCounts()

    def run_request(self, now: float) -> dispatch_pb2.RunRequest:
        """The sequence, new or resumed. Every attempt has an id of its own: a cancelled one may linger."""
        self.attempts += 1
        params = self.params
        return dispatch_pb2.RunRequest(
            sequence_id=f"{self.sequence_id}.{self.attempts}",
            token_ids=[*self.prompt, *self.output.token_ids],
            num_prompt_tokens=len(self.prompt),
            sampling=inference_pb2.SamplingParams(
                temperature=params.temperature,
                top_p=params.top_p,
                top_k=params.top_k,
                min_p=params.min_p,
                repetition_penalty=params.repetition_penalty,
                presence_penalty=params.presence_penalty,
                frequency_penalty=params.frequency_penalty,
                logit_bias=params.logit_bias,
                seed=self.seed,
            ),
            stopping=inference_pb2.StoppingParams(
                max_tokens=self.max_tokens,
                min_tokens=min(params.min_tokens, self.max_tokens),
                stop_token_ids=params.stop_token_ids,
                ignore_eos=params.ignore_eos,
            ),
            logprobs=params.logprobs,
            ledger=params.ledger,
            tenant=self.tenant.name,
            tenant_weight=self.tenant.weight,
            # A stop string ends the sequence from here, so its tokens are looked at as they come.
            merge_seconds=0.0 if params.stream or params.stop else _MERGE_SECONDS,
            age_seconds=max(0.0, now - self.arrival),
            ttft_target_seconds=None if self.ttft_target is None else self.ttft_target - now,
        )

    def accept(self, response: dispatch_pb2.RunResponse) -> bool:
        """Takes a replica's delta and hands the client's on. False when the replica has no more to say on a choice that
        has not ended: it goes, and its time was up."""
        ids = list(response.token_ids)
        logprobs = [
            TokenLogprob(token, entry.logprob, tuple((a.token_id, a.logprob) for a in entry.alternatives))
            for token, entry in zip(ids, response.logprobs, strict=False)
        ]
        delta = self.output.push(ids, logprobs)
        if delta.token_ids:
            self.fruitless = 0
        if response.HasField("so_far"):
            self._tell(response.so_far, partial=True)
        finish = response.finish if response.HasField("finish") else None
        moves = finish is not None and finish.reason == inference_pb2.FINISH_REASON_ABORTED
        if finish is not None:
            self._account(finish, moves=moves)
            self._tell(finish, partial=False)
        if finish is not None and not moves:
            self._close(delta, _REASONS[finish.reason])
        elif isinstance(self.output.matched_stop, str):  # only this side sees stop strings
            self._close(delta, FinishReason.STOP)
        elif delta.token_ids:
            self.stream.push(delta)
        return not moves

    def close_if_complete(self) -> bool:
        """Ends a choice whose last word was lost together with its replica."""
        if not self.output.complete:
            return False
        reason = FinishReason.LENGTH if self.output.matched_stop is None else FinishReason.STOP
        self._close(Delta(self.output.index), reason)
        return True

    def abort(self) -> None:
        """Ends the choice where it stands: the server is going."""
        self._close(Delta(self.output.index), FinishReason.ABORTED)

    def _account(self, finish: dispatch_pb2.RunFinish, *, moves: bool) -> None:
        self.preemptions += finish.preemptions
        self.failovers += finish.failovers + moves
        if self.failovers == 0:  # after a failover the first chunk and token are those of another stream
            self.queue_time = self.dispatched - self.arrival + finish.queue_seconds
            self.prefill_time = finish.prefill_seconds

    def _tell(self, finish: dispatch_pb2.RunFinish, *, partial: bool) -> None:
        if self.stay is not None:
            self.stay = self.stay.told(finish, partial=partial)

    def _close(self, delta: Delta, reason: FinishReason) -> None:
        delta.text += self.output.flush()
        delta.finish_reason = self.finish_reason = reason
        delta.matched_stop = self.output.matched_stop
        delta.usage = self.usage = self._usage()
        if self.params.ledger:
            delta.ledger = (*self.stays, self.stay) if self.stay is not None else tuple(self.stays)
        self.stream.push(delta)

    def _usage(self) -> Usage:
        """Times that no replica told (a stop string, a failover) are those seen from here."""
        start = self.arrival if self.first_dispatched is None else self.first_dispatched
        queue_time = start - self.arrival if self.queue_time is None else self.queue_time
        prefill_time = self.prefill_time
        if prefill_time is None:
            prefill_time = 0.0 if self.first_token is None else self.first_token - start
        return Usage(
            prompt_tokens=len(self.prompt),
            completion_tokens=len(self.output.token_ids),
            queue_time=queue_time,
            prefill_time=prefill_time,
            preemptions=self.preemptions,
            failovers=self.failovers,
            inexact=self.inexact,
        )

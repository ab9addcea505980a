"""One sequence of this replica, from Run to its end, and the messages about it."""

from __future__ import annotations

from dataclasses import dataclass

from vajra.dispatch.v1 import dispatch_pb2
from vajra.inference.v1 import inference_pb2
from vajra.replica.stream import TokenStream
from vajra.replica.validation import RunParams
from vajra.scheduling import Sequence
from vajra.worker.protocol import Add, Token

MOST_NAMED = 3  # in a ledger
FINISH_ERROR = 3  # vajra.engine.api.FinishReason.ERROR
FINISH_REASONS = {  # by vajra.engine.api.FinishReason
    1: inference_pb2.FINISH_REASON_STOP,
    2: inference_pb2.FINISH_REASON_LENGTH,
}


@dataclass(slots=True, eq=False)
class Running:
    """What belongs to one sequence: counts for the scheduler, tokens for a resume, a stream for its reader."""

    sequence: Sequence
    sequence_id: str
    token_ids: list[int]  # prompt and everything generated
    params: RunParams
    stream: TokenStream
    received: float
    strikes: int = 0  # workers that died with a step of it in flight, since its last token

    def add_message(self) -> Add:
        """Makes it known to an engine: new, or with what was generated (the one recovery verb)."""
        return Add(self.sequence.seq_id, self.token_ids, self.params.num_prompt_tokens, self.params.sampling)

    def finish(self, reason: inference_pb2.FinishReason, stop_token_id: int | None, now: float) -> None:
        """The stream's last word: why, and the times and misfortunes of its ledger."""
        account = self.account(now)
        account.reason = reason
        if reason == inference_pb2.FINISH_REASON_STOP and stop_token_id is not None:
            account.stop_token_id = stop_token_id
        self.stream.finish(account)

    def account(self, now: float) -> dispatch_pb2.RunFinish:
        """What has become of it so far, without a reason."""
        ledger = self.sequence.ledger
        first_scheduled = ledger.first_scheduled if ledger.first_scheduled is not None else now
        first_token = ledger.first_token if ledger.first_token is not None else now
        return dispatch_pb2.RunFinish(
            queue_seconds=first_scheduled - self.received,
            prefill_seconds=max(0.0, first_token - first_scheduled),
            preemptions=ledger.preemptions,
            failovers=ledger.failovers,
            ledger=dispatch_pb2.Ledger(
                batches=ledger.batches,
                chunks=ledger.chunks,
                blocked={reason.value: count for reason, count in ledger.blocked.items()},
                pauses=ledger.pauses,
                discarded=ledger.discarded,
                predicted_prefill_seconds=ledger.predicted_prefill,
                slack_seconds_at_first_token=ledger.slack,
                ahead=[dispatch_pb2.Ahead(sequence_id=name, batches=n) for name, n in ledger.ahead.most(MOST_NAMED)],
            ),
        )


def logprob_message(token: Token) -> inference_pb2.TokenLogprob | None:
    """The token's log-probability and alternatives, if they were asked for."""
    if token.logprob is None:
        return None
    alternatives = [inference_pb2.Alternative(token_id=i, logprob=p) for i, p in token.top_logprobs]
    return inference_pb2.TokenLogprob(logprob=token.logprob, alternatives=alternatives)

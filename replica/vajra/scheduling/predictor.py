"""What scheduling asks of an execution-time predictor; `vajra.prediction` has them. Times are seconds, as floats."""

from __future__ import annotations

from typing import Protocol


class BatchTime(Protocol):
    """Predicted time of one batch while it is composed: the whole step, all pipeline stages together.

    Never falls as tokens or context grow, and is finite for any counts.
    """

    @property
    def seconds(self) -> float:
        """Of what has been added. 0 for nothing."""

    def add_decodes(self, count: int, context: int) -> None:
        """Adds `count` sequences with one query token each, whose KV caches hold `context` tokens together."""

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        """Adds a prefill chunk of `num_query` tokens behind `context` tokens in the KV cache; `samples`: it reaches the
        sequence's last token, so logits are computed for it."""

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        """`seconds` as they would be after `add_chunk` of the same."""

    def observe(self, actual: float) -> None:
        """The step took `actual` seconds: the predictor's later predictions follow, slowly and within bounds, so that a
        busy machine does not break deadlines."""


class Predictor(Protocol):
    """Predicts batches of one model on one device."""

    def batch(self) -> BatchTime:
        """An empty batch."""

    @property
    def scale(self) -> float:
        """The factor that predictions have grown by since the first, for all that was observed; `batch` has it."""


class PrefillTimes(Protocol):
    """How long prompts take by themselves, under the scheduler in force."""

    def prefill_time(self, num_tokens: int) -> float:
        """Of a whole prompt."""

    def remaining(self, num_tokens: int, processed: int) -> float:
        """Of a prompt's tokens from `processed` on. Above 0 while any are left."""

"""FittedPredictor: batches predicted by a profile's tables, one addition a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vajra.prediction.correction import OnlineScale
from vajra.prediction.profile import Profile, Tables


class FittedPredictor:
    """A vajra.scheduling.predictor.Predictor over a fitted profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._stages = profile.identity.pipeline_parallel
        self._correction = OnlineScale()

    @property
    def scale(self) -> float:
        """By what predictions are multiplied, because the running engine is that much slower than its profile."""
        return self._correction.value

    def fingerprint(self) -> str:
        """The profile's."""
        return self.profile.fingerprint()

    def batch(self) -> FittedBatch:
        """An empty batch, of the scale that holds now."""
        return FittedBatch(self.profile.tables, self._stages, self._correction)

    def stage_time(self, groups: Sequence[Iterable[tuple[int, int, bool]]]) -> float:
        """Seconds of one pipeline stage for a batch's items (query tokens, KV tokens before them, is a decode).

        `groups` has a list of items for each KV-parallel group (one without KV parallelism); the slowest counts. Chunks
        count as reaching their prompts' ends.
        """
        slowest = 0.0
        for items in groups:
            batch = self.batch()
            for num_query, context, is_decode in items:
                if is_decode:
                    batch.add_decodes(num_query, context)
                else:
                    batch.add_chunk(num_query, context, True)
            slowest = max(slowest, batch.seconds)
        return slowest / self._stages


class FittedBatch:
    """A vajra.scheduling.predictor.BatchTime: sums of table entries."""

    __slots__ = (
        "_attention",
        "_context",
        "_correction",
        "_decode",
        "_decodes",
        "_factor",
        "_prefill",
        "_row_time",
        "_rows",
        "_tables",
        "_token_time",
        "_tokens",
    )

    def __init__(self, tables: Tables, stages: int, correction: OnlineScale) -> None:
        self._correction = correction
        self._tables = tables
        self._token_time, self._row_time, self._prefill = tables.tokens, tables.rows, tables.prefill
        self._factor = stages * correction.value  # of a stage's seconds
        self._tokens = 0
        self._rows = 0
        self._decodes = 0
        self._context = 0
        self._attention = tables.constant  # of the chunks, and the constant
        self._decode = 0.0  # attention of the decodes

    @property
    def seconds(self) -> float:
        """Of what has been added. 0 for nothing."""
        if self._tokens == 0:
            return 0.0
        return self._factor * (
            self._attention + self._decode + self._token_time(self._tokens) + self._row_time(self._rows)
        )

    def add_decodes(self, count: int, context: int) -> None:
        """Adds `count` sequences with one query token each, whose KV caches hold `context` tokens together."""
        self._decodes += count
        self._context += context
        self._tokens += count
        self._rows += count
        self._decode = self._tables.decode(self._decodes, self._context)

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        """Adds a prefill chunk of `num_query` tokens behind `context` tokens in the KV cache."""
        self._tokens += num_query
        self._rows += samples
        self._attention += self._prefill(num_query, context)

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        """`seconds` as they would be after `add_chunk` of the same."""
        tokens = self._tokens + num_query
        if tokens == 0:
            return 0.0
        return self._factor * (
            self._attention
            + self._decode
            + self._prefill(num_query, context)
            + self._token_time(tokens)
            + self._row_time(self._rows + samples)
        )

    def observe(self, actual: float) -> None:
        """The step took `actual` seconds; see OnlineScale."""
        self._correction.observe(self.seconds, actual)

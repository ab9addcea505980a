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

    __slots__ = ("_base", "_chunks", "_context", "_correction", "_decodes", "_factor", "_rows", "_tables", "_tokens")

    def __init__(self, tables: Tables, stages: int, correction: OnlineScale) -> None:
        self._correction = correction
        self._tables = tables
        self._factor = stages * correction.value  # of a stage's seconds
        self._tokens = 0
        self._rows = 0
        self._decodes = 0
        self._context = 0
        self._chunks = 0.0  # attention of the chunks
        self._base = tables.constant  # constant and all attention

    @property
    def seconds(self) -> float:
        """Of what has been added. 0 for nothing."""
        if self._tokens == 0:
            return 0.0
        return self._factor * (self._base + self._tables.tokens(self._tokens) + self._tables.rows(self._rows))

    def add_decodes(self, count: int, context: int) -> None:
        """Adds `count` sequences with one query token each, whose KV caches hold `context` tokens together."""
        self._decodes += count
        self._context += context
        self._tokens += count
        self._rows += count
        self._rebase()

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        """Adds a prefill chunk of `num_query` tokens behind `context` tokens in the KV cache."""
        self._tokens += num_query
        self._rows += samples
        self._chunks += self._tables.prefill(num_query, context)
        self._rebase()

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        """`seconds` as they would be after `add_chunk` of the same."""
        tables = self._tables
        tokens = self._tokens + num_query
        if tokens == 0:
            return 0.0
        base = self._base + tables.prefill(num_query, context)
        return self._factor * (base + tables.tokens(tokens) + tables.rows(self._rows + samples))

    def _rebase(self) -> None:
        tables = self._tables
        self._base = tables.constant + self._chunks + tables.decode(self._decodes, self._context)

    def observe(self, actual: float) -> None:
        """The step took `actual` seconds; see OnlineScale."""
        self._correction.observe(self.seconds, actual)

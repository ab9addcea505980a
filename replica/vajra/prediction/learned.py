"""A predictor that needs no profile: it learns from the steps that the engine runs.

A step's time is taken to be linear in what it does, as in Niyama (arXiv 2503.22562, section 4.1): a good form for
little data. Where a profile has been measured, its tables are better.
"""

from __future__ import annotations

from collections.abc import Sequence

NUM_FEATURES = 4  # of a step: 1, query tokens, rows that sample, pairs of a query token and a KV token it attends to
_MEMORY = 512  # steps: older ones count for less and less
_FIRST_GUESS = (1.0, 0.02, 0.005, 2e-6)  # per feature, of the shortest step: a token costs a fiftieth of it
_GUESS_WEIGHT = 1e-4  # in steps: it decides where steps say nothing
_SWEEPS = 30
_FIT_EVERY = 8  # steps, once there are more than that


class LearnedPredictor:
    """A vajra.scheduling.predictor.Predictor, by least squares of relative errors with coefficients that are never
    negative: so predictions never fall as a batch grows."""

    def __init__(self) -> None:
        self.seconds = [0.01 * guess for guess in _FIRST_GUESS]  # per feature
        self.steps = 0
        self._gram = [[0.0] * NUM_FEATURES for _ in range(NUM_FEATURES)]
        self._moment = [0.0] * NUM_FEATURES
        self._shortest = float("inf")

    @property
    def scale(self) -> float:
        """Nothing beside the coefficients themselves."""
        return 1.0

    def batch(self) -> LearnedBatch:
        """An empty batch."""
        return LearnedBatch(self)

    def learn(self, features: Sequence[float], actual: float) -> None:
        """A step of these features took `actual` seconds, which are more than 0."""
        self.steps += 1
        self._shortest = min(self._shortest, actual)
        row = [value / actual for value in features]
        keep = 1.0 - 1.0 / _MEMORY
        for i, x in enumerate(row):
            gram = self._gram[i]
            for j, y in enumerate(row):
                gram[j] = keep * gram[j] + x * y
            self._moment[i] = keep * self._moment[i] + x
        if self.steps <= _FIT_EVERY or self.steps % _FIT_EVERY == 0:
            self._fit()

    def _fit(self) -> None:
        """Coordinate descent over the nonnegative coefficients, with the first guess as a weak prior."""
        guess = [self._shortest * part for part in _FIRST_GUESS]
        weights = [_GUESS_WEIGHT / g**2 for g in guess]
        found = list(self.seconds)
        for _ in range(_SWEEPS):
            for i in range(NUM_FEATURES):
                rest = sum(self._gram[i][j] * found[j] for j in range(NUM_FEATURES) if j != i)
                target = self._moment[i] - rest + weights[i] * guess[i]
                found[i] = max(0.0, target / (self._gram[i][i] + weights[i]))
        self.seconds = found


class LearnedBatch:
    """A vajra.scheduling.predictor.BatchTime: counts, and coefficients of the moment."""

    __slots__ = ("_predictor", "_seconds", "pairs", "rows", "tokens")

    def __init__(self, predictor: LearnedPredictor) -> None:
        self._predictor = predictor
        self._seconds = predictor.seconds
        self.tokens = self.rows = 0
        self.pairs = 0.0

    @property
    def seconds(self) -> float:
        """Of what has been added. 0 for nothing."""
        return self._at(self.tokens, self.rows, self.pairs) if self.tokens else 0.0

    def add_decodes(self, count: int, context: int) -> None:
        """Adds `count` sequences with one query token each and `context` KV tokens together."""
        self.tokens += count
        self.rows += count
        self.pairs += context + count

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        """Adds a prefill chunk."""
        self.tokens += num_query
        self.rows += samples
        self.pairs += _pairs(num_query, context)

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        """`seconds` as they would be after `add_chunk` of the same."""
        return self._at(self.tokens + num_query, self.rows + samples, self.pairs + _pairs(num_query, context))

    def observe(self, actual: float) -> None:
        """The step took `actual` seconds. What took no time is none."""
        if actual > 0.0 and self.tokens:
            self._predictor.learn((1.0, self.tokens, self.rows, self.pairs), actual)

    def _at(self, tokens: float, rows: float, pairs: float) -> float:
        constant, token, row, pair = self._seconds
        return constant + token * tokens + row * rows + pair * pairs


def _pairs(num_query: int, context: int) -> float:
    """Of a query token and a KV token that it attends to: its chunk is causal."""
    return num_query * (context + 0.5 * (num_query + 1))

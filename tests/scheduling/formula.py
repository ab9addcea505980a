"""A predictor by formula: so much per step, per token, and per pair of a query token and a KV token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """Seconds. The defaults are those of a small model on an accelerator."""

    step: float = 1e-3
    token: float = 2e-5
    pair: float = 2e-9

    def batch(self) -> FormulaTime:
        return FormulaTime(self)

    scale = 1.0

    def prefill_time(self, num_tokens: int) -> float:
        return self.remaining(num_tokens, 0)

    def remaining(self, num_tokens: int, processed: int) -> float:
        return self.token * (num_tokens - processed) + self.pair * (pairs(num_tokens, 0) - pairs(processed, 0))


class FormulaTime:
    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self.tokens = self.pairs = 0

    @property
    def seconds(self) -> float:
        return self.after(0, 0)

    def add_decodes(self, count: int, context: int) -> None:
        self.tokens += count
        self.pairs += count + context

    def add_chunk(self, num_query: int, context: int, samples: bool) -> None:
        self.tokens += num_query
        self.pairs += pairs(num_query, context)

    def with_chunk(self, num_query: int, context: int, samples: bool) -> float:
        return self.after(num_query, pairs(num_query, context))

    def observe(self, actual: float) -> None:
        raise AssertionError("no engine reports here")

    def after(self, tokens: int, new_pairs: int) -> float:
        tokens += self.tokens
        formula = self.formula
        return formula.step + formula.token * tokens + formula.pair * (self.pairs + new_pairs) if tokens else 0.0


def pairs(num_query: int, context: int) -> int:
    """Of a causal chunk: each query token attends to the context, and to those of its chunk up to itself."""
    return num_query * context + num_query * (num_query + 1) // 2


class Work:
    """Prefill times that are given: a token is a second of work."""

    def prefill_time(self, num_tokens: int) -> float:
        return float(num_tokens)

    def remaining(self, num_tokens: int, processed: int) -> float:
        return float(num_tokens - processed)

"""From one choice's tokens to its text: detokenisation, stop strings, trimming. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vajra.gateway.request import Delta, TokenLogprob
from vajra.gateway.stop_strings import StopStrings


class Detokenizer(Protocol):
    """What is needed of vajra.models.IncrementalDetokenizer."""

    def push(self, ids: Sequence[int], /) -> str: ...

    def flush(self) -> str: ...


class ChoiceOutput:
    """Takes the tokens of one choice, in any portions, and yields what its client sees of them.

    Tokens are looked at one by one, so that the answer does not depend on how they were grouped on the way. The
    token that ends the sequence counts, but has no text; tokens behind the end are dropped.
    """

    def __init__(
        self,
        index: int,
        *,
        detokenizer: Detokenizer | None,
        stop: Sequence[str],
        stop_ids: frozenset[int],
        min_tokens: int,
        max_tokens: int,
    ) -> None:
        self.index = index
        self.token_ids: list[int] = []
        self.matched_stop: str | int | None = None
        self._detokenizer = detokenizer
        self._stops = StopStrings(stop) if stop else None
        self._stop_ids = stop_ids
        self._min_tokens, self._max_tokens = min_tokens, max_tokens

    @property
    def complete(self) -> bool:
        """Whether nothing can follow, whoever says so first: this or the replica."""
        return self.matched_stop is not None or len(self.token_ids) >= self._max_tokens

    def push(self, ids: Sequence[int], logprobs: Sequence[TokenLogprob]) -> Delta:
        """The delta of new tokens; `logprobs` has one entry per token or none. Look at `matched_stop` after it."""
        text, taken = "", 0
        for token in ids:
            if self.complete:
                break
            taken += 1
            self.token_ids.append(token)
            if token in self._stop_ids:
                self.matched_stop = token
            elif self._detokenizer is not None:
                text += self._show(self._detokenizer.push((token,)))
        return Delta(self.index, text, list(ids[:taken]), list(logprobs[:taken]))

    def flush(self) -> str:
        """The text still held back, once the choice has ended."""
        if self._detokenizer is None or isinstance(self.matched_stop, str):
            return ""
        text = self._detokenizer.flush()
        if self._stops is None:
            return text
        return self._stops.push(text, may_stop=False)[0] + self._stops.flush()

    def _show(self, text: str) -> str:
        if self._stops is None:
            return text
        text, found = self._stops.push(text, may_stop=len(self.token_ids) > self._min_tokens)
        if found is not None:
            self.matched_stop = found
        return text

"""How long prompts take alone: a table built by walking through the longest one, chunk by chunk."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Protocol

STRIDE = 64
_MEMO = 1 << 16


class _Batch(Protocol):
    def with_chunk(self, num_query: int, context: int, samples: bool) -> float: ...


class _Predictor(Protocol):
    def batch(self) -> _Batch: ...


class PrefillTable:
    """A vajra.scheduling.predictor.PrefillTimes.

    `seconds[i]` is for a prompt of i × `stride` tokens, `seconds[0]` for the shortest one: plain data that may travel.
    Between entries times are straight lines, beyond the last they go on as in its last piece.
    """

    __slots__ = ("_memo", "scale", "seconds", "stride")

    def __init__(self, seconds: Iterable[float], stride: int = STRIDE, scale: float = 1.0) -> None:
        """`scale` multiplies all answers and may be set anew at any time: a Predictor's online correction.

        Raises ValueError for less than two entries, a first one that is not above 0, entries that fall, or a stride
        below 1.
        """
        self.seconds = array("d", seconds)
        if len(self.seconds) < 2 or self.seconds[0] <= 0:
            raise ValueError("seconds must have at least two entries, the first above 0")
        if any(b < a for a, b in pairwise(self.seconds)):
            raise ValueError("seconds must never fall: a longer prompt takes no less")
        if stride < 1:
            raise ValueError(f"stride is {stride}; it must be at least 1")
        self.stride = stride
        self.scale = scale
        self._memo: dict[int, float] = {}  # entries by length: each waiting request is asked for at every dispatch

    def replace(self, other: PrefillTable) -> None:
        """Goes on with another table's times."""
        self.seconds, self.stride, self.scale = other.seconds, other.stride, other.scale
        self._memo.clear()

    @classmethod
    def build(
        cls,
        predictor: _Predictor,
        chunk_at: Callable[[int], int],
        max_tokens: int,
        *,
        stride: int = STRIDE,
        stages_overlap: int = 1,
        scale: float = 1.0,
    ) -> PrefillTable:
        """Of prompts up to `max_tokens`. `chunk_at(p)`: how many tokens an empty batch gets of a long prompt at p.

        A prompt's last chunk is what is left; `stages_overlap` is the pipeline's depth where a prompt's chunks follow
        one another through it (sequence pipeline parallelism), and divides. Raises ValueError for a chunk below 1.
        """
        time = predictor.batch().with_chunk
        seconds = [time(1, 0, True)]
        start, done, end = 0, 0.0, stride  # a chunk begins at `start`, after `done` seconds; `end` is the next entry
        while end < max_tokens + stride:
            chunk = chunk_at(start) if start < max_tokens else stride  # the last entry may lie beyond
            if chunk < 1:
                raise ValueError(f"chunk_at({start}) is {chunk}; it must be at least 1")
            while end <= start + chunk and end < max_tokens + stride:
                seconds.append(max(seconds[-1], done + time(end - start, start, True)))
                end += stride
            done += time(chunk, start, False)
            start += chunk
        return cls([s / stages_overlap for s in seconds], stride, scale)

    def prefill_time(self, num_tokens: int) -> float:
        """Seconds of a whole prompt; 0 for none."""
        found = self._memo.get(num_tokens)
        return self.scale * (found if found is not None else self._at(num_tokens))

    def remaining(self, num_tokens: int, processed: int) -> float:
        """Seconds of a prompt's tokens from `processed` on. Above 0 while any are left."""
        if processed >= num_tokens:
            return 0.0
        if processed <= 0:
            return self.prefill_time(num_tokens)
        # What any prompt takes at least is not yet spent while a step is to come.
        return self.scale * (self._at(num_tokens) - self._at(processed) + self.seconds[0])

    def _at(self, tokens: int) -> float:
        found = self._memo.get(tokens)
        if found is None:
            if len(self._memo) >= _MEMO:
                self._memo.clear()
            found = self._memo[tokens] = self._between(tokens) if tokens > 0 else 0.0
        return found

    def _between(self, tokens: int) -> float:
        i, rest = divmod(tokens, self.stride)
        i, rest = (
            (i, rest)
            if i < len(self.seconds) - 1
            else (len(self.seconds) - 2, tokens - (len(self.seconds) - 2) * self.stride)
        )
        low, high = self.seconds[i], self.seconds[i + 1]
        return low + (high - low) * rest / self.stride

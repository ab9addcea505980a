"""What a benchmark measured: records of single requests, and their summary. Pure.

TTFT is from sending to the first token; ITL the gaps between tokens as they arrive (a message of several tokens is
one gap); TPOT (last token - first token) / (tokens - 1); E2E from sending to the last token. All in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

PERCENTILES = (50, 90, 95, 99)


@dataclass
class RequestRecord:
    """What became of one request. Times are seconds on one monotonic clock."""

    index: int
    scheduled: float | None  # when the workload wanted it sent; None in a closed loop
    sent: float
    prompt_tokens: int
    max_tokens: int
    token_times: list[float] = field(default_factory=list)  # arrival of each message that carried tokens
    output_tokens: int = 0  # as the server counts them, else the number of messages
    finish_reason: str | None = None
    error: str | None = None  # why it failed; such a request counts in no latency

    @property
    def ttft(self) -> float:
        return self.token_times[0] - self.sent

    @property
    def e2e(self) -> float:
        return self.token_times[-1] - self.sent

    @property
    def tpot(self) -> float | None:
        """None for an answer of one token."""
        if self.output_tokens < 2:
            return None
        return (self.token_times[-1] - self.token_times[0]) / (self.output_tokens - 1)

    @property
    def itl(self) -> list[float]:
        return [b - a for a, b in zip(self.token_times, self.token_times[1:], strict=False)]


@dataclass(frozen=True)
class Summary:
    """Mean and percentiles of one quantity in seconds; NaN-free: absent when there were no values."""

    count: int
    mean: float
    minimum: float
    maximum: float
    percentiles: dict[int, float]

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary | None:
        """None without values. Percentiles interpolate linearly between order statistics."""
        data = np.fromiter(values, dtype=np.float64)
        if data.size == 0:
            return None
        points = np.percentile(data, PERCENTILES)
        return cls(
            int(data.size),
            float(data.mean()),
            float(data.min()),
            float(data.max()),
            {p: float(v) for p, v in zip(PERCENTILES, points, strict=True)},
        )

    def to_dict(self) -> dict[str, float]:
        return {
            "count": self.count,
            "mean": self.mean,
            "min": self.minimum,
            "max": self.maximum,
            **{f"p{p}": v for p, v in self.percentiles.items()},
        }


@dataclass(frozen=True)
class Report:
    """The summary of a run."""

    duration: float  # from the first sending to the last token or error
    requests: int
    completed: int
    errors: dict[str, int]
    short_answers: int  # completed with fewer tokens than asked for
    prompt_tokens: int
    output_tokens: int
    latencies: dict[str, Summary | None]  # ttft, itl, tpot, e2e, send_lag

    @classmethod
    def of(cls, records: Sequence[RequestRecord], duration: float) -> Report:
        """Failed requests count as errors and in nothing else."""
        done = [r for r in records if r.error is None]
        return cls(
            duration=duration,
            requests=len(records),
            completed=len(done),
            errors=dict(Counter(r.error for r in records if r.error is not None).most_common()),
            short_answers=sum(r.output_tokens < r.max_tokens for r in done),
            prompt_tokens=sum(r.prompt_tokens for r in done),
            output_tokens=sum(r.output_tokens for r in done),
            latencies={
                "ttft": Summary.of(r.ttft for r in done),
                "itl": Summary.of(gap for r in done for gap in r.itl),
                "tpot": Summary.of(t for r in done if (t := r.tpot) is not None),
                "e2e": Summary.of(r.e2e for r in done),
                "send_lag": Summary.of(r.sent - r.scheduled for r in records if r.scheduled is not None),
            },
        )

    def rate(self, amount: int) -> float:
        return amount / self.duration if self.duration > 0 else 0.0

    def to_dict(self) -> dict[str, object]:
        """For JSON: seconds and counts, rates per second."""
        values = asdict(self)
        values["latencies"] = {k: v.to_dict() if v else None for k, v in self.latencies.items()}
        values["request_throughput"] = self.rate(self.completed)
        values["output_token_throughput"] = self.rate(self.output_tokens)
        values["total_token_throughput"] = self.rate(self.prompt_tokens + self.output_tokens)
        return values

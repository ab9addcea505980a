"""Service level objectives: a quantile of a latency that must not be exceeded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vajra.metrics.sketch import Sketch
from vajra.simulator.errors import SimulationError
from vajra.simulator.metrics import Metrics

LATENCIES = {  # short names of what people ask for
    "ttft": "prefill_e2e_time",
    "normalized-ttft": "prefill_e2e_time_normalized",
    "delay": "request_scheduling_delay",
    "tpot": "decode_time_execution_plus_preemption_normalized",
    "e2e": "request_e2e_time",
}
TBT = "tbt"
_CLASSES = ("all", "short", "long")
_FORM = f"[short.|long.]METRIC:pQUANTILE:SECONDS with METRIC one of {', '.join((TBT, *LATENCIES))}, as ttft:p90:2.0"


@dataclass(frozen=True)
class Objective:
    """A share `quantile` of a class's values must be at most `seconds`."""

    metric: str
    quantile: float  # 0 to 1
    seconds: float
    requests: str = "all"  # their class

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Reads `ttft:p90:2`, `short.ttft:p99:0.5` or `tbt:p99.9:0.1`. Raises SimulationError with what is allowed."""
        name, _, rest = text.partition(":")
        quantile, _, seconds = rest.partition(":")
        group, dot, metric = name.rpartition(".")
        group = group if dot else "all"
        try:
            share = round(float(quantile.removeprefix("p")) / 100, 9)
            found = cls(metric, share, float(seconds), group)
        except ValueError:
            raise SimulationError(f"{text!r} is not an objective; allowed is {_FORM}") from None
        known = metric in LATENCIES or (metric == TBT and group == "all")
        if not (known and group in _CLASSES and 0 < found.quantile < 1 and 0 < found.seconds < math.inf):
            raise SimulationError(f"{text!r} is not an objective; allowed is {_FORM}")
        return found

    def __str__(self) -> str:
        group = "" if self.requests == "all" else f"{self.requests}."
        return f"{group}{self.metric} p{self.quantile * 100:g} <= {self.seconds:g} s"

    def value(self, metrics: Metrics) -> float:
        """The quantile, in seconds; NaN without values."""
        return self._sketch(metrics).quantile(self.quantile)

    def attained(self, metrics: Metrics) -> float:
        """The share of values that are within the bound; NaN without values."""
        return self._sketch(metrics).share_within(self.seconds)

    def holds(self, metrics: Metrics) -> bool:
        """Whether nothing was refused and the quantile is within the bound, or nothing has that latency."""
        value = self.value(metrics)
        return not metrics.refusals and (math.isnan(value) or value <= self.seconds)

    def _sketch(self, metrics: Metrics) -> Sketch:
        return metrics.token_gaps if self.metric == TBT else metrics.requests(self.requests)[LATENCIES[self.metric]]

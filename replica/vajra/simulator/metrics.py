"""What a simulation measures: sketches of every request, batch and token, in bounded memory.

The names and formulas are those of the reference's metrics. Of a request: a its arrival, s when it was first scheduled,
f its first token, c its last, P its prompt's tokens, n the tokens it generates, e the time of the steps it took part
in. In seconds; "normalized" is per token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from vajra.metrics.sketch import Bin, Sketch
from vajra.simulator.replica import SimulatedReplica, Step
from vajra.simulator.running import Running
from vajra.simulator.series import Series
from vajra.simulator.simulation import Simulation
from vajra.simulator.workload import Request

REQUEST_COUNTS = (
    "request_num_tokens",
    "request_num_prefill_tokens",
    "request_num_decode_tokens",
    "request_pd_ratio",
    "request_num_restarts",
    "request_num_pauses",
)
REQUEST_METRICS = (
    "request_e2e_time",
    "request_e2e_time_normalized",
    "request_e2e_time_piecewise_normalized",
    "request_execution_time",
    "request_execution_time_normalized",
    "request_preemption_time",
    "request_scheduling_delay",
    "request_execution_plus_preemption_time",
    "request_execution_plus_preemption_time_normalized",
    "prefill_e2e_time",
    "prefill_e2e_time_normalized",
    "prefill_e2e_time_piecewise_normalized",
    "prefill_time_execution_plus_preemption",
    "prefill_time_execution_plus_preemption_normalized",
    "decode_time_execution_plus_preemption_normalized",
    *REQUEST_COUNTS,
)
BATCH_METRICS = (
    "batch_num_tokens",
    "batch_num_prefill_tokens",
    "batch_num_decode_tokens",
    "batch_size",
    "batch_execution_time",
    "inter_batch_delay",
)
TOKEN_METRIC = "decode_token_execution_plus_preemption_time"  # the gap before each token but the first
INTER_ARRIVAL = "request_inter_arrival_delay"
IGNORED = "request_num_ignored"  # 1 for each that was refused, which is in no other metric
HISTOGRAMS = (INTER_ARRIVAL, *REQUEST_COUNTS, IGNORED)
SERIES = (
    "request_arrived",
    "request_completed",
    "prefill_completed",
    "decode_completed",
    "waiting",
    "running",
    "kv_utilization",
)


def request_values(running: Running) -> tuple[float, ...]:
    """Of a request that has ended, in the order of REQUEST_METRICS."""
    request, sequence = running.request, running.sequence
    assert sequence is not None
    arrival, first, last = request.arrival, running.first_token, running.last_token
    scheduled = sequence.ledger.first_scheduled
    assert scheduled is not None
    prompt, generated = request.prompt_tokens, request.output_tokens
    delay, whole, prefill = scheduled - arrival, last - scheduled, first - scheduled
    executed = min(running.executed, whole)
    return (
        last - arrival,
        (last - arrival) / generated,
        delay + whole / generated,
        executed,
        executed / generated,
        whole - executed,
        delay,
        whole,
        whole / generated,
        first - arrival,
        (first - arrival) / prompt,
        delay + prefill / prompt,
        prefill,
        prefill / prompt,
        (last - first) / generated,
        prompt + generated,
        prompt,
        generated,
        prompt / generated,
        sequence.ledger.preemptions,
        sequence.ledger.pauses,
    )


@dataclass
class RequestSketches:
    """One class of requests."""

    sketches: list[Sketch] = field(default_factory=lambda: [Sketch() for _ in REQUEST_METRICS])
    targets: int = 0  # requests whose first token was due at some time: the client's or the prioritizer's
    targets_met: int = 0

    def __getitem__(self, metric: str) -> Sketch:
        return self.sketches[REQUEST_METRICS.index(metric)]

    def merge(self, other: RequestSketches) -> None:
        """Adds another class."""
        for mine, theirs in zip(self.sketches, other.sketches, strict=True):
            mine.merge(theirs)
        self.targets += other.targets
        self.targets_met += other.targets_met


class Metrics:
    """The observer of a simulation (vajra.simulator.simulation.Observer)."""

    def __init__(self, *, long_prompt_tokens: int | None = None) -> None:
        """Requests with prompts of `long_prompt_tokens` and more are the class "long", all others "short"; None: there
        are no classes."""
        self.long_prompt_tokens = long_prompt_tokens
        self.simulation: Simulation | None = None  # set it, so that queues are seen
        self.on_prefilled: list[Callable[[float, Running], None]] = []
        self.on_finished: list[Callable[[float, Running], None]] = []
        self.on_step: list[Callable[[float, SimulatedReplica, Step], None]] = []
        self.token_gaps = Sketch()
        self.batches = {name: Sketch() for name in BATCH_METRICS}
        self.inter_arrival = Sketch()
        self.series = Series(SERIES)
        self.refusals: Counter[str] = Counter()
        self.num_arrived = self.num_completed = 0
        self.prompt_tokens = self.output_tokens = 0  # of prefills that are complete; generated
        self.first_arrival = self.last_token = 0.0
        self._last_arrival: float | None = None
        self._classes: dict[str, RequestSketches] = {}
        self._last_ends: dict[int, float] = {}

    @property
    def duration(self) -> float:
        """From the first arrival to the last token."""
        return max(0.0, self.last_token - self.first_arrival)

    def requests(self, name: str = "all") -> RequestSketches:
        """A class, or all of them; empty where nothing of it has ended."""
        if name != "all":
            return self._classes.get(name, RequestSketches())
        every = RequestSketches()
        for sketches in self._classes.values():
            every.merge(sketches)
        return every

    def histograms(self) -> dict[str, list[Bin]]:
        """Of HISTOGRAMS, those that have values."""
        ignored, every = Sketch(), self.requests()
        for value, count in ((0, self.num_completed), (1, self.refusals.total())):
            if count:
                ignored.add(value, count)
        more = {INTER_ARRIVAL: self.inter_arrival, IGNORED: ignored}
        found = {name: (more.get(name) or every[name]).histogram() for name in HISTOGRAMS}
        return {name: bins for name, bins in found.items() if bins}

    @property
    def classes(self) -> list[str]:
        """The classes that there are, without "all"; none where requests are not told apart."""
        return [] if self.long_prompt_tokens is None else sorted(self._classes, reverse=True)

    def class_of(self, request: Request) -> str:
        """ "long" or "short"."""
        most = self.long_prompt_tokens
        return "short" if most is None or request.prompt_tokens < most else "long"

    # ---- what happens

    def arrived(self, now: float, request: Request) -> None:
        """Counts it."""
        if self._last_arrival is None:
            self.first_arrival = request.arrival
        else:
            self.inter_arrival.add(request.arrival - self._last_arrival)
        self._last_arrival = request.arrival
        self.num_arrived += 1
        if now >= self.series.due:
            self._sample(now)

    def refused(self, now: float, request: Request, reason: str) -> None:
        """Counts it by reason; it is in no other metric."""
        self.refusals[reason] += 1

    def gap(self, seconds: float, count: int) -> None:
        """Tokens."""
        self.token_gaps.add(seconds, count)
        self.output_tokens += count

    def step(self, now: float, replica: SimulatedReplica, step: Step) -> None:
        """A batch."""
        batch, sketches = step.batch, self.batches
        sketches["batch_num_tokens"].add(batch.num_tokens)
        sketches["batch_num_prefill_tokens"].add(batch.num_tokens - batch.num_decodes)
        sketches["batch_num_decode_tokens"].add(batch.num_decodes)
        sketches["batch_size"].add(len(batch.items))
        sketches["batch_execution_time"].add(step.end - step.start)
        last = self._last_ends.get(replica.index)
        if last is not None:
            sketches["inter_batch_delay"].add(max(0.0, step.start - last))
        self._last_ends[replica.index] = step.end
        if now >= self.series.due:
            self._sample(now)
        for hear in self.on_step:
            hear(now, replica, step)

    def prefilled(self, now: float, running: Running) -> None:
        """A first token."""
        self.prompt_tokens += running.request.prompt_tokens
        self.output_tokens += 1
        for hear in self.on_prefilled:
            hear(now, running)

    def finished(self, now: float, running: Running) -> None:
        """A whole request."""
        self.num_completed += 1
        self.last_token = now
        request = running.request
        name = self.class_of(request)
        sketches = self._classes.get(name)
        if sketches is None:
            sketches = self._classes[name] = RequestSketches()
        for sketch, value in zip(sketches.sketches, request_values(running), strict=True):
            sketch.add(value)
        assert running.sequence is not None
        slack = running.sequence.ledger.slack
        if slack is not None:
            sketches.targets += 1
            sketches.targets_met += slack >= 0
        for hear in self.on_finished:
            hear(now, running)

    def _sample(self, now: float) -> None:
        simulation = self.simulation
        waiting = running = 0
        used = 0.0
        if simulation is not None:
            waiting, running = simulation.num_waiting, simulation.num_running
            pools = [replica.scheduler.blocks for replica in simulation.replicas]
            used = sum(pool.used for pool in pools) / sum(pool.num_blocks for pool in pools)
        counts = (self.num_arrived, self.num_completed, self.prompt_tokens, self.output_tokens)
        self.series.add(now, (*counts, waiting, running, used))

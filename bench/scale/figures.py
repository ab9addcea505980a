"""What the bench reports of one size."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scale.audit import Audit, Write
from tests.cluster.operator_process import OperatorProcess

from vajra.operator.kinds import VAJRA_DEPLOYMENT

_QUIET_SECONDS = 3


@dataclass(frozen=True)
class Converged:
    """From the first creation until all were Ready. Writes are those per VajraDeployment, on average."""

    seconds: float
    object_writes: float
    status_writes: float
    most_status_writes: int  # of any one
    events: float
    passes: float
    operator_cpu_seconds: float
    resident_mb: float
    peak_resident_mb: float

    @classmethod
    def of(cls, seconds: float, count: int, audit: Audit, operator: OperatorProcess) -> Converged:
        """So far."""
        counts = audit.counts()
        statuses = Counter(write.name for write in audit.writes() if write.mine and write.kind == "status")
        process = Path(f"/proc/{operator.process.pid}/status").read_text()
        return cls(
            seconds=seconds,
            object_writes=counts["object"] / count,
            status_writes=counts["status"] / count,
            most_status_writes=max(statuses.values()),
            events=counts["event"] / count,
            passes=operator.metric("controller_runtime_reconcile_total") / count,
            operator_cpu_seconds=operator.metric("process_cpu_seconds_total"),
            resident_mb=_kib(process, "VmRSS") * 1024 / 1e6,
            peak_resident_mb=_kib(process, "VmHWM") * 1024 / 1e6,
        )


@dataclass(frozen=True)
class Percentiles:
    """Seconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Figures:
    """One size. own: of a pass, without waits; whole: of a pass; reaction: from the API server's answer to a change to
    its receipt of the operator's first write for it; resync_writes: of two full passes over all with nothing to do."""

    deployments: int
    converged: Converged
    own: Percentiles
    whole: Percentiles
    reaction: Percentiles
    restart_seconds: float
    resync_writes: int

    @staticmethod
    def table(found: Sequence[Figures]) -> list[str]:
        """As Markdown."""
        rows: list[tuple[str, Callable[[Figures], str]]] = [
            ("from the first creation to all Ready", lambda f: f"{f.converged.seconds:.0f} s"),
            ("writes of objects, each", lambda f: f"{f.converged.object_writes:.1f}"),
            (
                "writes of status, each (most of any)",
                lambda f: f"{f.converged.status_writes:.1f} ({f.converged.most_status_writes})",
            ),
            ("events, each", lambda f: f"{f.converged.events:.1f}"),
            ("passes, each", lambda f: f"{f.converged.passes:.1f}"),
            ("a pass, own time: p50, p99", lambda f: _pair(f.own)),
            ("a pass, with the API server: p50, p99", lambda f: _pair(f.whole)),
            ("from a change to the first write: p50, p99", lambda f: _pair(f.reaction)),
            ("the operator's CPU until all were Ready", lambda f: f"{f.converged.operator_cpu_seconds:.0f} s"),
            (
                "the operator's memory: then, at most",
                lambda f: f"{f.converged.resident_mb:.0f} MB, {f.converged.peak_resident_mb:.0f} MB",
            ),
            ("a new operator: from its start to a pass over each", lambda f: f"{f.restart_seconds:.1f} s"),
            ("writes of that pass and of a resync", lambda f: str(f.resync_writes)),
        ]
        head = "| | " + " | ".join(f"{each.deployments:,} VajraDeployments" for each in found) + " |"
        body = [f"| {title} | " + " | ".join(value(each) for each in found) + " |" for title, value in rows]
        return [head, "|--" * (len(found) + 1) + "|", *body]


def _pair(found: Percentiles) -> str:
    return f"{1000 * found.p50:.1f} ms, {1000 * found.p99:.1f} ms"


def rest(progress: Callable[[], float]) -> None:
    """Returns when a number has not changed for some seconds."""
    last, since = progress(), time.monotonic()
    while time.monotonic() < since + _QUIET_SECONDS:
        time.sleep(0.2)
        if (now := progress()) != last:
            last, since = now, time.monotonic()


def latencies(writes: Iterable[Write]) -> Percentiles:
    """From each change of a spec by another to the operator's first write that names the VajraDeployment."""
    changed: dict[str, float] = {}
    found = []
    for write in sorted(writes, key=lambda each: each.received):
        deployment = "-".join(write.name.split("-")[:2])
        if not write.mine and write.resource == VAJRA_DEPLOYMENT.plural:
            changed[write.name] = write.answered
        elif write.mine and write.kind in ("object", "status") and deployment in changed:
            found.append(max(0.0, write.received - changed.pop(deployment)))
    found.sort()
    return Percentiles(found[len(found) // 2], found[len(found) * 99 // 100])


def seconds_of(operator: OperatorProcess, histogram: str) -> Percentiles:
    """Of a Prometheus histogram, linear inside its buckets, as Prometheus' own histogram_quantile."""
    text = operator.answer("/metrics")[1]
    buckets = [
        (float(bound.replace("+Inf", "inf")), float(number))
        for bound, number in re.findall(rf'^{histogram}_bucket{{.*le="(\S+)"}} (\S+)$', text, re.MULTILINE)
    ]
    return Percentiles(_quantile(0.5, buckets), _quantile(0.99, buckets))


def _quantile(part: float, buckets: Sequence[tuple[float, float]]) -> float:
    wanted = part * buckets[-1][1]
    below, counted = 0.0, 0.0
    for bound, number in buckets:
        if number >= wanted:
            return below + (bound - below) * (wanted - counted) / (number - counted) if bound < float("inf") else below
        below, counted = bound, number
    raise AssertionError("the last bucket holds all")


def _kib(status: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, f"/proc has no {field}"
    return int(found[1])

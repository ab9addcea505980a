"""Asks every pod's process how it is, and says whose answer is news."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from vajra.operator.cache import Key, Pod
from vajra.operator.model import Report, Stage
from vajra.operator.replicas import get_status

_READY_SECONDS = 10.0
_UNREADY_SECONDS = 2.0
_READY_PER_SECOND = 50.0  # with more ready pods each is asked less often: a call costs about a millisecond
_CONCURRENT = 32
_CALL_SECONDS = 2.0
_TICK_SECONDS = 0.5
_MISSES = 3  # calls in a row without an answer that make a report a thing of the past


@dataclass
class _Subject:
    due: float = 0.0
    asking: bool = False
    report: Report | None = None
    misses: int = 0


class Poller:
    """Keeps the reports of all pods that `pods` yields; `changed` is called with the key of each that has news."""

    def __init__(self, pods: Callable[[], Iterable[Pod]], changed: Callable[[Key], None]) -> None:
        self._pods = pods
        self._changed = changed
        self._subjects: dict[str, _Subject] = {}  # by UID
        self._limit = asyncio.Semaphore(_CONCURRENT)
        self._calls: set[asyncio.Task[None]] = set()

    def report(self, uid: str) -> Report | None:
        """What the pod with this UID said, if it answered lately."""
        subject = self._subjects.get(uid)
        return None if subject is None else subject.report

    def ask_soon(self, uid: str) -> None:
        """Asks a pod before its time: something was done to it."""
        if uid in self._subjects:
            self._subjects[uid].due = 0.0

    async def ask_all(self) -> None:
        """Asks every pod once: a new operator shall know no less than the one before it. Returns after 10 s at most."""
        self._ask_due()
        if self._calls:
            await asyncio.wait(self._calls, timeout=_READY_SECONDS)

    async def run(self) -> None:
        """Asks, until it is cancelled."""
        try:
            while True:
                self._ask_due()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            for call in self._calls:
                call.cancel()

    def _ask_due(self) -> None:
        now = time.monotonic()
        pods = {pod.uid: pod for pod in self._pods() if pod.address}
        for uid in self._subjects.keys() - pods.keys():
            del self._subjects[uid]
        ready_seconds = max(_READY_SECONDS, len(pods) / _READY_PER_SECOND)
        for uid, pod in pods.items():
            subject = self._subjects.setdefault(uid, _Subject())
            if not subject.asking and subject.due <= now:
                subject.asking = True
                call = asyncio.create_task(self._ask(subject, pod, ready_seconds))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)

    async def _ask(self, subject: _Subject, pod: Pod, ready_seconds: float) -> None:
        async with self._limit:
            report = await get_status(pod.address, _CALL_SECONDS)
        subject.asking = False
        well = report is not None and report.phase == "Serving" and pod.ready
        subject.due = time.monotonic() + (ready_seconds if well else _UNREADY_SECONDS)
        subject.misses = 0 if report is not None else subject.misses + 1
        if report is None and subject.misses < _MISSES:
            return
        before, subject.report = subject.report, report
        if _gist(before) != _gist(report):
            self._changed(pod.key)


def _gist(report: Report | None) -> Report | None:
    """A report without what changes all the time: of a drain it matters if it is done, of progress the tenth."""
    if report is None:
        return None
    return replace(
        report,
        running=0,
        waiting=int(report.phase == "Draining" and report.running + report.waiting > 0),
        stages=[Stage(stage.name, 0.0, round(stage.progress, 1)) for stage in report.stages],
    )

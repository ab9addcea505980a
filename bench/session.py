"""Rounds of a comparison: every engine once per round, in turn, the others stopped meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import http_load
from bench.engines import Engine, Setting
from bench.peers.layout import Layout
from bench.peers.protocol import WrongAnswer
from bench.processes import EngineFailed, Runner, Server, free_port
from bench.results import Failure, Results, Sample
from bench.workloads import MODELS, Workload, offline_figures

_WARM_PROMPT, _WARM_OUTPUT = 512, 8

Advance = Callable[[str, int], None]
"""Called with what goes on, and how many samples are done by it."""


@dataclass(frozen=True)
class Plan:
    """What a comparison measures."""

    engines: Sequence[Engine]
    models: Sequence[str]
    workloads: Sequence[Workload]
    rounds: int
    threads: int
    layout: Layout
    logs: Path

    def able(self, workload: Workload) -> list[Engine]:
        """The engines that have the face that a workload needs."""
        return [e for e in self.engines if workload.concurrency is None or e.server is not None]

    def pairs(self) -> list[tuple[str, list[Workload]]]:
        """Models with their workloads, offline ones first; engines are loaded once for each pair."""
        found = []
        for model in self.models:
            here = [w for w in self.workloads if model in w.models]
            for face in (False, True):
                group = [w for w in here if (w.concurrency is not None) is face]
                if group:
                    found.append((model, group))
        return found

    @property
    def samples(self) -> int:
        """How many there will be."""
        return sum(self.rounds * len(self.able(w)) for _, group in self.pairs() for w in group)


def measure(plan: Plan, results: Results, advance: Advance) -> None:
    """Adds what is missing to `results`. An engine that fails is left out from then on, and said so there."""
    for model, group in plan.pairs():
        with _Engines(plan, model, results, advance) as engines:
            for workload in group:
                done = results.rounds(model, workload.name)
                advance(f"{model} {workload.name}", sum(len(plan.able(workload)) for _ in done))
                for number in sorted(set(range(plan.rounds)) - done):
                    for engine in plan.able(workload):
                        step = f"{model} {workload.name} round {number + 1} of {plan.rounds}: {engine.name}"
                        advance(step, 0)
                        engines.sample(engine, workload, number)
                        advance(step, 1)


class _Engines(ExitStack):
    """One model's engines, each loaded when first asked, all ended together."""

    def __init__(self, plan: Plan, model: str, results: Results, advance: Advance) -> None:
        super().__init__()
        self._plan, self._model, self._results, self._advance = plan, model, results, advance
        self._processes: dict[str, Runner | Server] = {}
        self._failed = {(f.engine, f.workload) for f in results.failures if f.model == model}
        self._warm: set[tuple[str, str]] = set()

    def sample(self, engine: Engine, workload: Workload, number: int) -> None:
        """Measures once and keeps the sample, or the failure."""
        key = (engine.name, workload.name)
        if key in self._failed:
            return
        try:
            process = self._process(engine, workload)
            with process.running():
                if key not in self._warm:
                    self._run(process, workload, number=-1, warm=True)
                    self._warm.add(key)
                figures = self._run(process, workload, number, warm=False)
        except (EngineFailed, WrongAnswer) as error:
            self._failed.add(key)
            self._results.fail(Failure(self._model, workload.name, engine.name, str(error)))
            if (broken := self._processes.pop(engine.name, None)) is not None:
                broken.close()
        else:
            self._results.add(Sample(self._model, workload.name, engine.name, number, figures))

    def _process(self, engine: Engine, workload: Workload) -> Runner | Server:
        if engine.name not in self._processes:
            self._advance(f"{self._model}: loading {engine.name}", 0)
            plan, http = self._plan, workload.concurrency is not None
            setting = Setting(plan.layout, self._model, plan.threads, free_port() if http else 0)
            log = plan.logs / f"{self._model}-{engine.name}{'-http' if http else ''}.log"
            process = (Server if http else Runner)(engine, setting, log)
            self._processes[engine.name] = process
            self.callback(process.close)
            if isinstance(process, Runner):
                self._results.version(engine.name, process.version)
        return self._processes[engine.name]

    def _run(self, process: Runner | Server, workload: Workload, number: int, *, warm: bool) -> dict[str, float]:
        prompts, output = workload.prompts(MODELS[self._model].vocabulary, number), workload.output
        if warm:
            prompts, output = [p[:_WARM_PROMPT] for p in prompts], min(output, _WARM_OUTPUT)
        if isinstance(process, Server):
            return http_load.measure(process.url, process.body, workload, prompts, output)
        seconds = process.ask(prompts, output, first=workload.needs_first)
        return offline_figures(workload, seconds.first, seconds.whole)

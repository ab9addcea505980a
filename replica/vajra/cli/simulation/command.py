"""`vajra simulate` from its options to its output."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vajra.cli.arguments import make_output_folder, parsed
from vajra.cli.errors import USAGE, CommandError
from vajra.cli.output import Format, plots, print_json, print_rich, progress_bars
from vajra.cli.simulation.setup import (
    SimulateOptions,
    numbers,
    read_deployment,
    read_device,
    read_overheads,
    read_plan,
    read_workload,
    shape_of,
)
from vajra.cli.simulation.tables import print_rates, print_report, print_search
from vajra.config import VajraDeployment
from vajra.simulator import SimulationError, Workload
from vajra.simulator.files import KINDS, recording, write_summaries
from vajra.simulator.metrics import Metrics
from vajra.simulator.objective import Objective
from vajra.simulator.plan import ClusterPlan, roofline_plan
from vajra.simulator.report import report
from vajra.simulator.search import Search, Trial

__all__ = ["SimulateOptions", "run_command"]

_BETWEEN_PROGRESS = 256  # requests
_SHORT_SECONDS = 60.0  # of arrivals: a search over less is not worth much


def run_command(options: SimulateOptions, output: Format) -> None:
    """Simulates, or searches, and prints; raises CommandError, SimulationError, ConfigError or ModelError."""
    objectives = [parsed("--slo", Objective.parse, text) for text in options.objectives]
    if unknown := [kind for kind in options.keep if kind not in KINDS]:
        raise CommandError(f"--keep: there is no {', '.join(unknown)}; known are {', '.join(KINDS)}", USAGE)
    if options.keep and options.output_dir is None:
        raise CommandError("--keep needs --output-dir, which says where to write", USAGE)
    if options.manifest_out is not None and not options.search:
        raise CommandError("--manifest-out writes what --search finds; add --search", USAGE)
    deployment, workload = read_deployment(options), read_workload(options)
    if options.search or options.max_rate:
        if not objectives:
            raise CommandError("a search needs an objective: --slo ttft:p90:2.0", USAGE)
        if options.output_dir is not None:
            raise CommandError("--output-dir is for one simulation, not for a search", USAGE)
        (_search if options.search else _highest_rate)(options, deployment, workload, objectives, output)
        return
    plan = read_plan(options, deployment)
    metrics = Metrics(long_prompt_tokens=options.long_from)
    if options.output_dir is not None:
        make_output_folder(options.output_dir)
    started = time.perf_counter()
    with _progress(metrics, len(workload)), recording(options.output_dir, metrics, options.keep) as paths:
        simulation = plan.simulate(workload, metrics)
    seconds = time.perf_counter() - started
    found = {"setup": _setup(plan), **report(simulation, metrics, objectives), "wall_seconds": seconds}
    if options.output_dir is not None:
        paths += _write_all(options.output_dir, metrics, str(found["setup"]["times"]))
    if output is Format.json:
        print_json(found)
    else:
        print_rich(lambda console: print_report(found, console))
        for path in paths:
            print(f"wrote {path}")


def _search(
    options: SimulateOptions,
    deployment: VajraDeployment,
    workload: Workload,
    objectives: list[Objective],
    output: Format,
) -> None:
    plans: list[ClusterPlan] = []
    layouts: list[dict[str, Any]] = []
    unfit: list[dict[str, Any]] = []
    if options.profile is not None:
        plans.append(read_plan(options, deployment))  # it was measured in one layout
    else:
        shape, device = shape_of(deployment), read_device(options)
        for tensor in numbers("--tensor-choices", options.tensor_choices):
            for pipeline in numbers("--pipeline-choices", options.pipeline_choices):
                layout = {"tensor": tensor, "pipeline": pipeline}
                try:
                    changed = _changed(deployment, 1, tensor, pipeline)
                    plans.append(roofline_plan(changed, shape, device, read_overheads(options)))
                except SimulationError as error:
                    unfit.append({**layout, "problem": str(error)})
    _warn_of_short(workload)
    plans.sort(key=lambda plan: (plan.tensor * plan.pipeline, plan.pipeline))
    with _trials() as progress:
        search = Search(workload, objectives, options.long_from, progress)
        tried = search.cheapest(plans, options.max_devices)
        for plan, trial in tried:
            layout = {"tensor": plan.tensor, "pipeline": plan.pipeline}
            if trial is None:
                layouts.append({**layout, "problem": "it takes more devices than another layout, or than there may be"})
            else:
                layouts.append({**layout, **_found(trial)})
        held = [trial for _, trial in tried if trial is not None]
        best = min(held, key=lambda trial: trial.plan.devices, default=None)
        fastest = None if best is None else search.highest_rate(best.plan, _rate_of(workload))
    manifest = None
    if best is not None:
        manifest = _changed(deployment, best.plan.replicas, best.plan.tensor, best.plan.pipeline)
        if options.manifest_out is not None:
            options.manifest_out.write_text(manifest.to_yaml(defaults=False), encoding="utf-8")
    found = {
        "setup": _setup(plans[0]) if plans else None,
        "objectives": [str(objective) for objective in objectives],
        "layouts": layouts + unfit,
        "best": None if best is None else {"tensor": best.plan.tensor, "pipeline": best.plan.pipeline, **_found(best)},
        "highest_rate": None if fastest is None else fastest.rate,
        "manifest": None if manifest is None else manifest.to_dict(defaults=False),
    }
    if output is Format.json:
        print_json(found)
    else:
        print_rich(lambda console: print_search(found, console))
        if manifest is not None:
            where = options.manifest_out
            print(f"wrote {where}" if where is not None else f"\n{manifest.to_yaml(defaults=False)}", end="\n")
    if best is None:
        raise CommandError(f"no layout holds the objectives with {options.max_devices} devices; see --max-devices")


def _highest_rate(
    options: SimulateOptions,
    deployment: VajraDeployment,
    workload: Workload,
    objectives: list[Objective],
    output: Format,
) -> None:
    plan = read_plan(options, deployment)
    _warn_of_short(workload)
    trials: list[Trial] = []
    with _trials() as progress:

        def heard(trial: Trial) -> None:
            trials.append(trial)
            progress(trial)

        best = Search(workload, objectives, options.long_from, heard).highest_rate(plan, _rate_of(workload))
    found = {
        "setup": _setup(plan),
        "objectives": [str(objective) for objective in objectives],
        "highest_rate": None if best is None else best.rate,
        "trials": [{"rate": trial.rate, **_found(trial)} for trial in sorted(trials, key=lambda t: t.rate or 0.0)],
    }
    if output is Format.json:
        print_json(found)
    else:
        print_rich(lambda console: print_rates(found, console))
    if best is None:
        raise CommandError("the objectives do not hold at any rate: one request alone takes longer")


def _changed(deployment: VajraDeployment, replicas: int, tensor: int, pipeline: int) -> VajraDeployment:
    """Another size and layout of the same; checked as every manifest is."""
    data = deployment.to_dict(defaults=False)
    data["spec"]["replicas"] = replicas
    data["spec"].setdefault("parallelism", {}).update(tensor=tensor, pipeline=pipeline)
    return VajraDeployment.from_dict(data)


def _rate_of(workload: Workload) -> float:
    """Requests per second on average; 1 where all come at once."""
    seconds = _span(workload)
    return (len(workload) - 1) / seconds if seconds else 1.0


def _span(workload: Workload) -> float:
    """Seconds from the first arrival, which is at 0, to the last."""
    return deque(workload, maxlen=1)[0].arrival


def _warn_of_short(workload: Workload) -> None:
    seconds = _span(workload)
    if seconds < _SHORT_SECONDS:
        print(
            f"all requests arrive within {seconds:.0f} s, in which a queue hardly grows: more of them (--requests) may "
            "need more devices",
            file=sys.stderr,
        )


def _found(trial: Trial) -> dict[str, Any]:
    plan, found = trial.plan, trial.report
    return {
        "replicas": plan.replicas,
        "devices": plan.devices,
        "holds": trial.holds,
        "cut": trial.cut,
        "objectives": found["objectives"],
        "throughput": found["throughput"],
        "utilization": found["utilization"],
    }


def _setup(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "times": getattr(plan.predictor, "name", "measured profile"),
        "scheduler": plan.scheduler.type_name,
        "prioritizer": plan.prioritizer.type_name,
        "replicas": plan.replicas,
        "tensor": plan.tensor,
        "pipeline": plan.pipeline,
        "kv_tokens": plan.num_blocks * plan.block_size,
        "max_model_len": plan.max_model_len,
    }


def _write_all(folder: Path, metrics: Metrics, title: str) -> list[Path]:
    def write() -> list[Path]:
        from vajra.simulator.plots import write_plots

        return write_plots(folder, metrics, f"simulated: {title}")

    return write_summaries(folder, metrics) + plots(write)


@contextmanager
def _progress(metrics: Metrics, total: int) -> Iterator[None]:
    """A bar of requests that have ended."""
    with progress_bars() as show:
        metrics.on_finished.append(
            lambda now, running: (
                show("simulating", metrics.num_completed, total)
                if metrics.num_completed % _BETWEEN_PROGRESS == 1
                else None
            )
        )
        yield


@contextmanager
def _trials() -> Iterator[Callable[[Trial], None]]:
    """A line for each trial of a search, on stderr."""

    def show(trial: Trial) -> None:
        plan = trial.plan
        rate = "" if trial.rate is None else f" at {trial.rate:.3g} requests/s"
        verdict = "holds" if trial.holds else "does not hold"
        layout = f"{plan.replicas} x tensor {plan.tensor} x pipeline {plan.pipeline}"
        print(f"{layout}{rate}: {verdict}", file=sys.stderr, flush=True)

    yield show

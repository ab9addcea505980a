"""How well a profile predicts whole steps that it was not fitted to.

    python -m bench.prediction                            # a quick profile in every round
    python -m bench.prediction --profile profile.json     # a profile measured before, on this machine
    python -m bench.prediction --rounds 3 --seconds 60 -o json

A shared machine is faster and slower from one minute to the next, so profile and steps are measured in turn. Each round
measures a quick profile, going on with what was measured before, and then runs the very same random batches of prompts
and decodes, with contexts up to --context, on the live engine. A batch's median over the rounds is held against

    the first round's profile alone, as a quick profile predicts the minutes that follow it
    the profile of all rounds, which has seen the machine as the batches did: the bar's

and each round's step against the machine's own noise, which is its distance from that median, and against a predictor
that follows the steps online, as a replica's does, with the first profile. Steps during which other processes took
processor time are left out, and counted; so are batches of which fewer than half of the rounds' steps remain.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vajra.config import VajraDeployment
from vajra.engine import Engine, EngineOptions, create_engine
from vajra.models import load
from vajra.models.spec import ModelSpec
from vajra.prediction import FittedBatch, FittedPredictor, PrefillTable, Profile
from vajra.prediction.measurements import StepShape
from vajra.profiler import PRESETS, identity_of
from vajra.profiler.calm import Calm
from vajra.profiler.identity import num_threads
from vajra.profiler.measuring import measure
from vajra.profiler.steps import StepLimits, StepWalker, walking

_SEED = 20_261_128  # no profile's steps have it
_KINDS = ("decodes", "chunks", "mixed")


@dataclass
class Batch:
    """One batch, run once a round."""

    shape: StepShape
    measured: list[float] = field(default_factory=list)  # seconds, of rounds that nothing disturbed
    followed: list[float] = field(default_factory=list)  # predicted for these by one who saw the steps before
    disturbed: int = 0
    quick: float = 0.0  # predicted by the first profile
    predicted: float = 0.0  # by the profile of all rounds

    @property
    def kind(self) -> str:
        if not self.shape.chunks:
            return "decodes"
        return "mixed" if self.shape.decodes else "chunks"

    @property
    def longest_context(self) -> int:
        each = self.shape.decode_context // max(1, self.shape.decodes)
        return max([each, *(c.context + c.num_query for c in self.shape.chunks)])


@dataclass(frozen=True)
class Spread:
    """Relative errors."""

    count: int
    median: float
    p95: float
    worst: float


@dataclass(frozen=True)
class Result:
    """Of one kind of batches, or all."""

    kind: str
    error: Spread
    bias: float  # median of predicted / measured - 1
    quick: Spread  # error of the first profile
    followed: Spread  # error with online correction
    noise: Spread


def spread(values: Sequence[float]) -> Spread:
    """Of absolute values; all 0 for none."""
    found = sorted(abs(v) for v in values) or [0.0]
    p95 = found[min(len(found) - 1, math.ceil(0.95 * len(found)) - 1)]
    return Spread(len(values), statistics.median(found), p95, found[-1])


def result(kind: str, batches: Sequence[Batch]) -> Result:
    """Errors against the median of each batch's rounds, and the rounds' own."""
    errors, quick, followed, noise = [], [], [], []
    for batch in batches:
        middle = statistics.median(batch.measured)
        errors.append(batch.predicted / middle - 1)
        quick.append(batch.quick / middle - 1)
        followed += [f / m - 1 for f, m in zip(batch.followed, batch.measured, strict=True)]
        if len(batch.measured) > 1:
            noise += [m / middle - 1 for m in batch.measured]
    return Result(kind, spread(errors), statistics.median(errors), spread(quick), spread(followed), spread(noise))


def run(
    engine: Engine,
    options: EngineOptions,
    profile: Callable[[int], Profile],
    *,
    context: int,
    chunk: int,
    seconds: float,
    rounds: int,
) -> tuple[list[Batch], Profile]:
    """Asks for a profile and runs random batches for `seconds`, then the same ones again in every further round.

    Returns the batches and the last profile.
    """
    limits = StepLimits(max_chunk=chunk, max_context=context, max_decodes=options.max_batch_size)
    calm = Calm(math.inf, num_threads(options))
    batches: list[Batch] = []
    first = last = profile(0)
    following = FittedPredictor(first)
    for number in range(rounds):
        if number:
            last = profile(number)
        walker = StepWalker(
            engine, options, limits, range(options.num_blocks), _SEED, long_prompts=(context * 15 // 16, context // 3)
        )
        spent, i = 0.0, 0
        with walking(walker):
            while spent < seconds if number == 0 else i < len(batches):
                mark = calm.mark()
                step = walker.step()
                undisturbed = calm.share(mark) > 0
                spent += step.seconds
                if number == 0:
                    batches.append(Batch(step.shape))
                batch = batches[i]
                assert batch.shape == step.shape, "rounds run the same batches"
                followed = composed(following, step.shape)
                if undisturbed:
                    batch.measured.append(step.seconds)
                    batch.followed.append(followed.seconds)
                else:
                    batch.disturbed += 1
                followed.observe(step.seconds)
                i += 1
        print(f"round {number + 1} of {rounds}: {i} steps", file=sys.stderr, flush=True)
    quick, pooled = FittedPredictor(first), FittedPredictor(last)
    for batch in batches:
        batch.quick = composed(quick, batch.shape).seconds
        batch.predicted = composed(pooled, batch.shape).seconds
    return batches, last


def composed(predictor: FittedPredictor, shape: StepShape) -> FittedBatch:
    """As a scheduler composes it."""
    batch = predictor.batch()
    if shape.decodes:
        batch.add_decodes(shape.decodes, shape.decode_context)
    for chunk in shape.chunks:
        batch.add_chunk(chunk.num_query, chunk.context, chunk.samples)
    return batch


def costs(predictor: FittedPredictor) -> dict[str, float]:
    """What predicting itself takes."""
    batch = predictor.batch()
    batch.add_decodes(32, 32 * 700)
    batch.add_chunk(100, 300, False)
    calls = 200_000
    start = time.perf_counter()
    for i in range(calls):
        batch.with_chunk(128 + (i & 255), 5000 + i, False)
    with_chunk = (time.perf_counter() - start) / calls
    start = time.perf_counter()
    for i in range(calls):
        batch.add_chunk(1, i, False)
    add_chunk = (time.perf_counter() - start) / calls
    target = predictor.batch().with_chunk(512, 0, False)

    def chunk_at(context: int) -> int:
        """As dynamic chunking does: the largest multiple of 32 within a target."""
        with_chunk = predictor.batch().with_chunk
        low, high = 1, 64
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if with_chunk(32 * middle, context, False) <= target else (low, middle - 1)
        return 32 * low

    start = time.perf_counter()
    PrefillTable.build(predictor, chunk_at, 2_000_000)
    table = time.perf_counter() - start
    text = predictor.profile.to_json()
    start = time.perf_counter()
    Profile.from_json(text)
    return {
        "with_chunk_us": 1e6 * with_chunk,
        "add_chunk_us": 1e6 * add_chunk,
        "prefill_table_2M_s": table,
        "profile_load_ms": 1e3 * (time.perf_counter() - start),
        "profile_bytes": len(text),
    }


def plot(batches: Sequence[Batch], total: Result, path: Path) -> None:
    """Predicted over measured, and errors over measured, by kind."""
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    canvas = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = canvas.subplots(1, 2)
    for kind in _KINDS:
        chosen = [b for b in batches if b.kind == kind]
        measured = [1000 * statistics.median(b.measured) for b in chosen]
        predicted = [1000 * b.predicted for b in chosen]
        left.scatter(measured, predicted, s=10, label=kind)
        right.scatter(measured, [100 * (p / m - 1) for p, m in zip(predicted, measured, strict=True)], s=10, label=kind)
    ends = [1000 * min(b.predicted for b in batches), 1000 * max(b.predicted for b in batches)]
    left.plot(ends, ends, color="grey", linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="measured step (ms)", ylabel="predicted step (ms)")
    for bound in (-15, 15):
        right.axhline(bound, color="grey", linestyle=":")
    right.axhline(0, color="grey", linewidth=1)
    right.set(xscale="log", xlabel="measured step (ms)", ylabel="error of the prediction (%)")
    error, noise = total.error, total.noise
    canvas.suptitle(
        f"{error.count} held-out batches: median error {100 * error.median:.1f} %, p95 {100 * error.p95:.1f} %; "
        f"the machine's own noise {100 * noise.median:.1f} %, {100 * noise.p95:.1f} %",
        fontsize="medium",
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=110)


def markdown(results: Sequence[Result]) -> str:
    """A row for each kind."""
    lines = [
        "| batches | count | error, median | p95 | bias | of one quick profile | p95 "
        "| followed online | p95 | noise, median | p95 |",
        "|--|--|--|--|--|--|--|--|--|--|--|",
    ]
    for r in results:
        others = [v for spread in (r.quick, r.followed, r.noise) for v in (spread.median, spread.p95)]
        cells = (r.error.median, r.error.p95, r.bias, *others)
        lines.append(f"| {r.kind} | {r.error.count} | " + " | ".join(f"{100 * c:.1f} %" for c in cells) + " |")
    return "\n".join(lines)


def engine_of(model: str, context: int, chunk: int, batch: int) -> tuple[Engine, ModelSpec, EngineOptions]:
    """A model's engine with room for the batches."""
    config = VajraDeployment.for_model(model, max_model_len=context).replica_config.model_config
    loaded = load(config)
    options = EngineOptions(
        num_blocks=4 * -(-context // 16) + batch * 64,
        block_size=16,
        max_model_len=loaded.max_model_len,
        max_batch_size=batch,
        max_batch_tokens=chunk,
    )
    engine = create_engine(loaded.spec, loaded.weights, options, cache_key=loaded.resolved.content_key)
    return engine, loaded.spec, options


def main() -> int:
    """Measures and reports. The exit status is 1 when the bar is not reached: median 5%, p95 15%."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.prediction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct", help="[%(default)s]")
    parser.add_argument("--profile", type=Path, help="instead of measuring one")
    parser.add_argument("--preset", choices=list(PRESETS), default="quick", help="of each round [%(default)s]")
    parser.add_argument("--context", type=int, default=8192, help="longest context [%(default)s]")
    parser.add_argument("--chunk", type=int, default=1024, help="longest chunk [%(default)s]")
    parser.add_argument("--batch", type=int, default=64, help="most sequences in a batch [%(default)s]")
    parser.add_argument("--seconds", type=float, default=30.0, help="of steps in a round [%(default)s]")
    parser.add_argument("--rounds", type=int, default=8, help="[%(default)s]")
    parser.add_argument("--results", type=Path, default=Path("build/bench/prediction.json"), help="[%(default)s]")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    given = parser.parse_args()
    engine, spec, options = engine_of(given.model, given.context, 2 * given.chunk, given.batch)
    try:
        known = None if given.profile is None else Profile.read(given.profile)
        if known is not None:
            known.check(identity_of(spec, options))
        with tempfile.TemporaryDirectory() as folder:

            def profile(number: int) -> Profile:
                if known is not None:
                    return known
                preset = PRESETS[given.preset].repeated(number + 1)
                return measure(engine, spec, options, preset=preset, model=given.model, folder=Path(folder))

            batches, last = run(
                engine,
                options,
                profile,
                context=given.context,
                chunk=given.chunk,
                seconds=given.seconds,
                rounds=given.rounds,
            )
    finally:
        engine.close()
    calm = [b for b in batches if 2 * len(b.measured) >= given.rounds]
    kinds = [result(kind, chosen) for kind in _KINDS if (chosen := [b for b in calm if b.kind == kind])]
    total = result("all", calm)
    found: dict[str, Any] = {
        "results": [asdict(r) for r in (*kinds, total)],
        "longest_context": max(b.longest_context for b in calm),
        "disturbed_steps": sum(b.disturbed for b in batches),
        "batches_left_out": len(batches) - len(calm),
        "steps": sum(b.disturbed + len(b.measured) for b in batches),
        "costs": costs(FittedPredictor(last)),
        "identity": asdict(last.identity),
        "preset": last.preset,
    }
    given.results.parent.mkdir(parents=True, exist_ok=True)
    batch_rows = [asdict(b) for b in batches]
    given.results.write_text(json.dumps({**found, "batches": batch_rows}) + "\n")
    if given.output == "json":
        print(json.dumps(found, indent=2))
    else:
        print(markdown([*kinds, total]))
        left_out = (
            f"{found['disturbed_steps']} of {found['steps']} steps, which other processes disturbed, are left out, "
            f"and with them {found['batches_left_out']} of {len(batches)} batches"
        )
        print(f"\nContexts up to {found['longest_context']} tokens; {left_out}.")
        print("Costs: " + ", ".join(f"{name} {value:.3g}" for name, value in found["costs"].items()))
    try:
        plot(calm, total, given.results.with_suffix(".png"))
    except ImportError:
        print("no plot: it needs matplotlib (pip install 'vajra[plots]')", file=sys.stderr)
    return 0 if total.error.median <= 0.05 and total.error.p95 <= 0.15 else 1


if __name__ == "__main__":
    sys.exit(main())

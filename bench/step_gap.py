"""How long the engine computes nothing between the steps of a full batch, while there is work.

    python -m bench.step_gap                      # 64 requests at once, offline and over HTTP
    python -m bench.step_gap --rounds 5 -o json

Steps are noted in the worker (bench/probe). Of two successive steps that decode all 64 requests, the gap is the time
between their ends less what the engine says the later one took. The share is that of all gaps in all that time.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench import http_load, options
from bench.engines import ENGINES, Setting, probed
from bench.peers.layout import Layout
from bench.processes import Runner, Server, free_port
from bench.workloads import MODELS, SMOLLM2, Workload

_BATCH, _PROMPT, _OUTPUT = 64, 256, 128


@dataclass(frozen=True)
class Step:
    """A line of the trace."""

    end: float
    seconds: float
    tokens: int


@dataclass(frozen=True)
class Gaps:
    """Of the steps of a full batch: how many, their median length, gaps between them, in seconds, and their share."""

    steps: int
    step_p50: float
    gap_p50: float
    gap_p99: float
    share: float


def gaps(steps: Sequence[Step], batch: int) -> Gaps | None:
    """Over successive steps that both sample `batch` tokens; None when there are none."""
    pairs = [(a, b) for a, b in itertools.pairwise(steps) if a.tokens == b.tokens == batch]
    if not pairs:
        return None
    between = np.array([b.end - a.end for a, b in pairs])
    busy = np.array([b.seconds for _, b in pairs])
    idle = between - busy  # one may be below zero by the time that noting the step before took; the sum is exact
    p50, p99 = np.percentile(idle, (50, 99))
    return Gaps(len(pairs), float(np.median(busy)), float(p50), float(p99), float(idle.sum() / between.sum()))


def read_trace(path: Path) -> list[Step]:
    """What the probe wrote, in order."""
    rows = (line.split() for line in path.read_text().splitlines())
    return [Step(float(end), float(seconds), int(tokens)) for end, seconds, tokens in rows]


def measure(face: str, engine_name: str, setting: Setting, rounds: int, folder: Path) -> Gaps:
    """Runs full batches on one face, "offline" or "HTTP". Raises SystemExit when no step had a full batch."""
    engine, trace = ENGINES[engine_name], folder / f"{face}.trace"
    workload = Workload("gap", _BATCH, _PROMPT, _OUTPUT, (), (setting.model,), concurrency=_BATCH)

    def traced(_: Setting) -> dict[str, str]:
        return {"BENCH_STEP_TRACE": str(trace)}

    engine = dataclasses.replace(
        engine,
        offline=probed(engine.offline, traced),
        server=engine.server and probed(engine.server, traced),
    )
    process = (Runner if face == "offline" else Server)(engine, setting, folder / f"{face}.log")
    try:
        for number in range(rounds):
            prompts = workload.prompts(MODELS[setting.model].vocabulary, number)
            if isinstance(process, Server):
                http_load.measure(process.url, process.body, workload, prompts, _OUTPUT)
            else:
                process.ask(prompts, _OUTPUT, first=False)
    finally:
        process.close()
    found = gaps(read_trace(trace), _BATCH)
    if found is None:
        raise SystemExit(f"{face}: no two successive steps decoded {_BATCH} sequences; see {folder}")
    return found


def main() -> int:
    """Measures both faces and prints a table."""
    parser = options.parser("step_gap", __doc__)
    parser.add_argument("--engine", default="vajra", choices=[e.name for e in ENGINES.values() if e.is_ours])
    parser.add_argument("--rounds", type=int, default=3, help="full batches for each face [%(default)s]")
    given = parser.parse_args()
    layout = Layout(given.peers.absolute())
    options.engines([given.engine], layout, parser)
    folder = Path(tempfile.mkdtemp(prefix="step-gap-"))
    found: dict[str, Gaps] = {}
    for face in ("offline", "HTTP"):
        print(f"{face}: {given.rounds} batches of {_BATCH} × ({_PROMPT} + {_OUTPUT})", file=sys.stderr)
        setting = Setting(layout, SMOLLM2, given.threads, port=free_port())
        found[face] = measure(face, given.engine, setting, given.rounds, folder)
    if given.output == "json":
        values: dict[str, Any] = {face: dataclasses.asdict(value) for face, value in found.items()}
        print(json.dumps(values, indent=2))
    else:
        print("| face | steps | step, ms | gap p50, µs | gap p99, µs | share of the time |\n|--|--|--|--|--|--|")
        for face, g in found.items():
            cells = (g.steps, f"{g.step_p50 * 1e3:.1f}", f"{g.gap_p50 * 1e6:.0f}", f"{g.gap_p99 * 1e6:.0f}")
            print(f"| {face} | " + " | ".join(str(c) for c in cells) + f" | {100 * g.share:.1f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

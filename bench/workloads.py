"""Offline workloads of the embedded model, greedy over random token ids, each run several times.

    python bench/workloads.py                  # all four, as a table
    python bench/workloads.py W1 W3 -o json    # two of them, as JSON lines

W1 is 1 x (128 + 128) tokens, W2 64 x (256 + 128) at once, W3 8 x (2048 + 1), W4 1 x (8000 + 32). Time to first token
is that of a run with one new token. Figures mean something only beside others of the same run on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import dataclass

from vajra.client import LLM, SamplingParams


@dataclass(frozen=True)
class Workload:
    """`requests` prompts of `prompt` tokens each at once, `output` new tokens each, measured `repeats` times."""

    requests: int
    prompt: int
    output: int
    repeats: int


WORKLOADS = {
    "W1": Workload(1, 128, 128, 5),
    "W2": Workload(64, 256, 128, 3),
    "W3": Workload(8, 2048, 1, 3),
    "W4": Workload(1, 8000, 32, 3),
}


def prompts(name: str, repeat: int, workload: Workload) -> list[list[int]]:
    """Fresh random ids for every repeat, so that no cache of prefixes can help."""
    source = random.Random(f"{name}{repeat}")
    return [[source.randrange(300, 49000) for _ in range(workload.prompt)] for _ in range(workload.requests)]


def seconds(llm: LLM, batch: list[list[int]], output: int) -> float:
    """Wall time until every token of the batch is there."""
    sampling = SamplingParams(max_tokens=output, min_tokens=output, ignore_eos=True, temperature=0)
    start = time.perf_counter()
    results = llm.generate(batch, sampling, progress_bar=False)
    elapsed = time.perf_counter() - start
    assert all(len(result.token_ids) == output for result in results)
    return elapsed


def measure(llm: LLM, name: str) -> dict[str, float]:
    """Medians over the repeats of one workload: tok/s in all, TTFT in ms, decode tok/s."""
    workload = WORKLOADS[name]
    seconds(llm, prompts(name, -1, workload)[:1], min(workload.output, 8))  # touches weights and pages once
    rows = []
    for repeat in range(workload.repeats):
        batch = prompts(name, repeat, workload)
        first = seconds(llm, batch, 1) if workload.requests == 1 else None
        whole = seconds(llm, batch, workload.output)
        row = {"wall_s": whole, "total_tok_s": workload.requests * (workload.prompt + workload.output) / whole}
        if first is not None:
            row |= {"ttft_ms": first * 1e3, "decode_tok_s": (workload.output - 1) / max(whole - first, 1e-9)}
        rows.append(row)
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    walls = [row["wall_s"] for row in rows]
    return middle | {"wall_min_s": min(walls), "wall_max_s": max(walls)}


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*WORKLOADS, []], help="workloads; all by default")
    parser.add_argument("-o", dest="output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    with LLM("smollm2-135m-instruct", max_model_len=8192) as llm:
        for name in options.names or WORKLOADS:
            figures = measure(llm, name)
            if options.output == "json":
                print(json.dumps({"workload": name} | figures), flush=True)
            else:
                print(name, "  ".join(f"{key} {value:.4g}" for key, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()

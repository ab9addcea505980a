"""llama.cpp: python -m bench.peers.llamacpp MODEL.gguf THREADS BATCH PROGRAM, with llama-batched-bench as the program.

The program loads anew for every request, warms up and reports prefill and decode without the loading. Its prompts are
random ids of its own. Prefill yields the first token, so output - 1 decode steps follow.
"""

from __future__ import annotations

import json
import subprocess
import sys

from bench.peers.protocol import Prompts, claim_stdout, serve


class Program:
    """llama-batched-bench for one model."""

    def __init__(self, program: str, model: str, threads: str) -> None:
        self._command = [program, "-m", model, "-t", threads, "-tb", threads, "-b", "2048", "-ub", "512"]

    def seconds(self, prompts: Prompts, output: int) -> float:
        """One run of that many prompts of that length. The prefill of an earlier run with one token is not kept."""
        requests, length = len(prompts), len(prompts[0])
        context = requests * (length + output) + 256
        sizes = ["-npp", str(length), "-ntg", str(max(1, output - 1)), "-npl", str(requests), "-c", str(context)]
        run = subprocess.run(
            [*self._command, *sizes, "--output-format", "jsonl"], stdout=subprocess.PIPE, text=True, check=True
        )
        row = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("{")))
        prefill, decode = float(row["t_pp"]), float(row["t_tg"])
        return prefill if output == 1 else prefill + decode


def main() -> None:
    """Answers; there is nothing to load beforehand."""
    channel = claim_stdout()
    model, threads, _batch, program = sys.argv[1:]
    version = subprocess.run([program.replace("batched-bench", "server"), "--version"], capture_output=True, text=True)
    said = (version.stderr + version.stdout).splitlines()
    number = next(
        (line.partition(":")[2].strip() for line in said if line.startswith("version:")), "of unknown version"
    )
    serve(channel, f"llama.cpp {number}", Program(program, model, threads).seconds)


if __name__ == "__main__":
    main()

"""Vajra's offline face: python -m bench.peers.vajra MODEL THREADS BATCH none|int8."""

from __future__ import annotations

import subprocess
import sys

from bench.peers.protocol import Prompts, claim_stdout, serve, timed

from vajra.cli.versions import vajra_version
from vajra.client import LLM, SamplingParams


def _commit() -> str:
    """Of the checkout, marked when it has changes; empty outside one."""
    git = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(git, capture_output=True, text=True, check=False)
    return f", commit {said.stdout.strip()}" if said.returncode == 0 else ""


def main() -> None:
    """Loads and answers. Threads are the engine's own choice: what the cgroup and affinity allow."""
    channel = claim_stdout()
    model, _threads, _batch, quantization = sys.argv[1:]
    with LLM(model, dtype="bfloat16", quantization=quantization, max_model_len=8192) as llm:

        def generate(prompts: Prompts, output: int) -> list[int]:
            sampling = SamplingParams(max_tokens=output, min_tokens=output, ignore_eos=True, temperature=0)
            return [len(answer.token_ids) for answer in llm.generate(prompts, sampling, progress_bar=False)]

        serve(channel, f"Vajra {vajra_version()}{_commit()}", timed(generate))


if __name__ == "__main__":
    main()

"""How a bench and an engine's runner talk: a JSON object a line over stdin and stdout. Standard library only.

The runner says {"ready": VERSION} when its model is loaded, then answers each request
{"prompts": [[id, …], …], "output": N, "first": BOOL} with {"first_s": seconds or null, "whole_s": seconds}.
`first_s` is of a run of its own with one new token. The end of stdin ends the runner.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

Prompts = list[list[int]]


class WrongAnswer(Exception):
    """An engine gave other than the tokens that it was asked for: its time would mean nothing."""


def timed(generate: Callable[[Prompts, int], list[int]]) -> Callable[[Prompts, int], float]:
    """Seconds of a `generate(prompts, output)` that returns how many new tokens each prompt got."""

    def run(prompts: Prompts, output: int) -> float:
        start = time.perf_counter()
        counts = generate(prompts, output)
        elapsed = time.perf_counter() - start
        if counts != [output] * len(prompts):
            raise WrongAnswer(f"asked for {output} tokens for each of {len(prompts)} prompts, got {counts[:8]}")
        return elapsed

    return run


def claim_stdout() -> TextIO:
    """The channel; what an engine prints from now on goes to stderr, also from native code."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def serve(channel: TextIO, version: str, seconds: Callable[[Prompts, int], float]) -> None:
    """Answers requests until stdin ends."""

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")

    say({"ready": version})
    for line in sys.stdin:
        request = json.loads(line)
        prompts, output = request["prompts"], request["output"]
        first = seconds(prompts, 1) if request["first"] else None
        whole = first if first is not None and output == 1 else seconds(prompts, output)
        say({"first_s": first, "whole_s": whole})

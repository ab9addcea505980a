"""Writes down when each engine step of a worker ends: imported by every Python that has this folder on its path.

In a worker, with BENCH_STEP_TRACE naming a file, each step becomes a line of it: when its result was there (seconds
of the monotonic clock), how long the engine took, how many tokens it sampled.
"""

from __future__ import annotations

import os
import sys

_TRACE = os.environ.get("BENCH_STEP_TRACE")

if _TRACE and "vajra.worker" in sys.orig_argv:
    import time
    from pathlib import Path

    from vajra.engine.api import StepResult
    from vajra.engine.native import NativeStep

    _file = Path(_TRACE).open("a", buffering=1)  # noqa: SIM115 (open as long as the worker lives)
    _result = NativeStep.result

    def result(self: NativeStep, timeout: float | None = None) -> StepResult:
        """NativeStep.result, noted; the worker asks until it is there, and then no more."""
        answer = _result(self, timeout)
        _file.write(f"{time.monotonic()} {answer.seconds} {len(answer.tokens)}\n")
        return answer

    NativeStep.result = result  # type: ignore[method-assign]

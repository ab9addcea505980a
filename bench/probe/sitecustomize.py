"""What benches change in a worker: imported by every Python that has this folder on its path.

With BENCH_NATIVE naming a folder, the native module in it takes the place of the installed one. With BENCH_STEP_TRACE
naming a file, each step becomes a line of it: when its result was there (seconds of the monotonic clock), how long the
engine took, how many tokens it sampled.
"""

from __future__ import annotations

import os
import sys

_NATIVE = os.environ.get("BENCH_NATIVE")
_TRACE = os.environ.get("BENCH_STEP_TRACE")
_IN_WORKER = "vajra.worker" in sys.orig_argv

if _NATIVE and _IN_WORKER:
    import importlib.util
    import sysconfig

    _path = f"{_NATIVE}/_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    _spec = importlib.util.spec_from_file_location("vajra.engine._native", _path)
    if _spec is None or _spec.loader is None:
        raise ImportError(f"BENCH_NATIVE: {_path} is no extension module")
    sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_spec.name])

if _TRACE and _IN_WORKER:
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

"""A worker's exit status in words, with what to do about it."""

from __future__ import annotations

import signal

_CRASH = "the engine crashed: please report it with the messages above"
_HINTS = {
    signal.SIGABRT: _CRASH,
    signal.SIGFPE: _CRASH,
    signal.SIGSEGV: _CRASH,
    signal.SIGBUS: (
        "a file that it had mapped lost its pages: was a weight file, or one of the cache of packed weights, truncated "
        "or overwritten while it was served, or is a disk failing? Replace such files by renaming, never in place"
    ),
    signal.SIGILL: "an instruction that this processor lacks: set VAJRA_ISA to a lower kernel family (scalar, avx2)",
}
_MEMORY = "give it more memory, or lower model.maxModelLen, worker.gpuMemoryUtilizationPercent or replicas"


def describe_exit(status: int, oom_kills: int | None) -> str:
    """`status` as Popen has it: negative for a signal. `oom_kills` is how many processes of its cgroup the kernel has
    killed for want of memory during its life; None when that cannot be known."""
    if status >= 0:
        return f"The worker exited with status {status}."
    try:
        number = signal.Signals(-status)
    except ValueError:  # a real-time signal
        return f"The worker was ended by signal {-status}."
    hint = _killed(oom_kills) if number is signal.SIGKILL else _HINTS.get(number)
    return f"The worker was ended by {number.name}{f' ({hint})' if hint else ''}."


def _killed(oom_kills: int | None) -> str:
    if oom_kills:
        return f"out of memory: the kernel has killed {oom_kills} of this cgroup's processes meanwhile; {_MEMORY}"
    if oom_kills == 0:
        return "by hand or by another process: its cgroup counts no kill for want of memory"
    return f"by hand, or by the kernel for want of memory, which its log (dmesg) would tell; then {_MEMORY}"

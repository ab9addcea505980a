"""Measures engines into execution-time profiles (vajra.prediction), and keeps these on the machine.

`vajra.profiler.measuring.measure` takes a live engine (and a while to import, which a start without need of it spares);
`cached_or_measured` measures once for all processes that need the same profile.
"""

from vajra.profiler.cache import all_cached, cached, cached_or_measured, folder_of, profiles_dir
from vajra.profiler.identity import identity_of
from vajra.profiler.presets import FULL, PRESETS, QUICK, Preset

__all__ = [
    "FULL",
    "PRESETS",
    "QUICK",
    "Preset",
    "all_cached",
    "cached",
    "cached_or_measured",
    "folder_of",
    "identity_of",
    "profiles_dir",
]

"""How a manifest's value and a reference class's value correspond: units, spellings, switches. Exact both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class DoesNotFit(ValueError):
    """A Python value that no manifest value stands for; the text says why."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """One correspondence. `to_manifest` raises `DoesNotFit`; the absent value None maps to itself."""

    unit: str
    to_reference: Callable[[Any], Any]
    to_manifest: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _scaled(unit: str, scale: int) -> Conversion:
    """An integer of `unit` in the manifest, `scale` of which make 1.0 in Python."""

    def to_manifest(value: float) -> int:
        units = round(value * scale)
        if units / scale != value:
            raise DoesNotFit(f"{value!r} is {value * scale:.6g} {unit}; a manifest holds whole {unit}")
        return units

    return Conversion(unit, lambda units: units / scale, to_manifest)


def switch(on: str, off: str) -> Conversion:
    """Two words in the manifest, True and False in Python."""
    return Conversion("", lambda word: word == on, lambda flag: on if flag else off)


def words(*spellings: str) -> Conversion:
    """The manifest's CamelCase words, lower case in Python."""
    by_lower = {word.lower(): word for word in spellings}
    return Conversion("", str.lower, lambda word: by_lower[word])


PLAIN = Conversion("", _same, _same)
PERCENT = _scaled("percent", 100)
MILLISECONDS = _scaled("milliseconds", 1000)

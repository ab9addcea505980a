"""Kubernetes quantities, which an API server writes in a form of its own: 1000m comes back as 1."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

_PATTERN: Final = re.compile(
    r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([eE][+-]?[0-9]+)|(m|u|n|k|[KMGTPE]i|[MGTPE]))?"
)
_SUFFIXES: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


def quantity(value: Any) -> Fraction | None:
    """What an integer or text is as a quantity; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    found = _PATTERN.fullmatch(str(value))
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    scale = Fraction(10) ** int(exponent[1:]) if exponent else _SUFFIXES.get(suffix or "", Fraction(1))
    return Fraction(number) * scale

"""A revision: everything of a spec that takes new pods. Equal revisions, equal pods.

The name is made of the fields of class Recreate that differ from their defaults, and of nothing else: not of the
operator's version, not of how it lays out pods, nor of a field that a later version adds and nobody has set. So an
operator's upgrade rolls no pods; tests hold the names of some specs fixed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vajra.config import Change, VajraDeploymentSpec
from vajra.config.spec.model import ModelSection
from vajra.config.table import Row, leaves
from vajra.operator.planning.canonical import digest

_VERSION: Final = "v1"
_DIGITS: Final = 12


@dataclass(frozen=True)
class Revision:
    """hash: `v1:` and all digits; name: what labels, files and pods call it."""

    name: str
    hash: str


def revision_of(spec: VajraDeploymentSpec) -> Revision:
    """The revision of a spec."""
    digits = digest({row.path: row.value(spec) for row in _rows(Change.RECREATE) if not _is_default(row, spec)})
    return Revision(f"{_VERSION}-{digits[:_DIGITS]}", f"{_VERSION}:{digits}")


def recreate_part(spec: VajraDeploymentSpec) -> dict[str, Any]:
    """The part of a spec that a revision stands for, with its defaults: a spec again.

    A union of class Live that has a field of class Recreate is there for that field, and of the default type.
    """
    return _merged(_part(_defaults(), _types()), _part(spec, _rows(Change.RECREATE)))


def with_live_part(recreate: Mapping[str, Any], spec: VajraDeploymentSpec) -> dict[str, Any]:
    """A revision's spec with the live settings of another."""
    return _merged(recreate, _part(spec, _rows(Change.LIVE)))


def _part(spec: VajraDeploymentSpec, rows: Iterable[Row]) -> dict[str, Any]:
    part: dict[str, Any] = {}
    for row in rows:
        value = row.value(spec)
        if value is not None:
            *sections, key = row.path.split(".")[1:]
            here = part
            for section in sections:
                here = here.setdefault(section, {})
            here[key] = value
    return part


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return merged


@functools.cache
def _rows(change: Change) -> tuple[Row, ...]:
    return tuple(row for row in leaves() if row.change is change)


@functools.cache
def _types() -> tuple[Row, ...]:
    """Live fields without which sections that hold fields of class Recreate could not be read."""
    fixed = [row.path for row in _rows(Change.RECREATE)]
    required = (row for row in _rows(Change.LIVE) if row.field.required)
    return tuple(row for row in required if any(path.startswith(row.path.rpartition(".")[0] + ".") for path in fixed))


def _is_default(row: Row, spec: VajraDeploymentSpec) -> bool:
    value = row.value(spec)
    return value is None or value == row.field.default or value == row.value(_defaults())


@functools.cache
def _defaults() -> VajraDeploymentSpec:
    return VajraDeploymentSpec(model=ModelSection(name="any"))

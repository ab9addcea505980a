"""Every option of a manifest in words: what the documentation and the command line show."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vajra.config.options import Change, Scope
from vajra.config.plain import plain_default
from vajra.config.table import Row, leaves, row_by_path


@dataclass(frozen=True)
class OptionDescription:
    """One option. `default` is as in a manifest, "required" or "unset"; `reference` is `Class.field` or empty."""

    path: str
    default: str
    allowed: str
    unit: str
    reference: str
    meaning: str
    change: Change
    takeover: str  # how a change of it takes effect in this version: a sentence
    implemented: str


def describe() -> list[OptionDescription]:
    """Every option that holds a value, in the order of the spec."""
    return [_describe(row) for row in leaves()]


def _describe(row: Row) -> OptionDescription:
    field = row.field
    return OptionDescription(
        path=row.path,
        default=_default(row),
        allowed=field.allowed,
        unit=field.option.conversion.unit,
        reference=f"{row.reference[0].__name__}.{row.reference[1]}" if row.reference else "",
        meaning=row.doc,
        change=row.change,
        takeover=_takeover(row),
        implemented=_implemented(row),
    )


def _default(row: Row) -> str:
    """A required field's too, where the section around it has a default that fills it: a union's `type`."""
    section = row_by_path().get(row.path.rpartition(".")[0])
    around = None if section is None or section.field.required else section.field.default
    if row.field.required and around is None:
        return "required"
    return _written(getattr(around, row.field.name) if row.field.required else row.field.default)


def _written(value: object) -> str:
    return "unset" if value is None else value if isinstance(value, str) else json.dumps(plain_default(value))


def _takeover(row: Row) -> str:
    if row.updatable:
        return "Taken over while running."
    return "`UpdateConfig` refuses it: restart."


def _implemented(row: Row) -> str:
    if not row.available:
        return "not yet"
    known = row.field.option.implemented
    if known is None:
        return "in a cluster" if row.scope is Scope.CLUSTER else "yes"
    text = "only " + ", ".join(_written(value) for value in known)
    added = ", ".join(_written(value) for value in row.field.option.in_cluster)
    return f"{text}; in a cluster also {added}" if added else text

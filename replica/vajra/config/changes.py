"""What differs between two deployments, what each difference costs, and what of it a running process takes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from vajra.config.fields import fields_of
from vajra.config.options import Change
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.table import leaves, row_by_path, rows

T = TypeVar("T")


@dataclass(frozen=True)
class ChangedField:
    """One field of the spec that differs; None stands for unset."""

    path: str
    old: Any
    new: Any
    change: Change
    updatable: bool  # whether it is taken over while everything runs


def changed_fields(old: VajraDeploymentSpec, new: VajraDeploymentSpec) -> list[ChangedField]:
    """The fields that differ, in the order of the spec."""
    return [
        ChangedField(row.path, before, after, row.change, row.updatable)
        for row in leaves()
        if (before := row.value(old)) != (after := row.value(new))
    ]


def updatable_paths() -> tuple[str, ...]:
    """What is taken over while everything runs: fields and whole sections, `spec.drain`."""
    fixed = [row.path for row in leaves() if not row.updatable]

    def is_whole(path: str) -> bool:
        return not any(f"{other}.".startswith(f"{path}.") for other in fixed)

    whole = [row.path for row in rows() if is_whole(row.path)]
    return tuple(path for path in whole if path.rpartition(".")[0] not in whole)


def with_live_fields(spec: VajraDeploymentSpec, newer: VajraDeploymentSpec) -> VajraDeploymentSpec:
    """`spec` with the fields of class Live as they are in `newer`: what a process of the revision `spec` runs with.

    Raises ConfigError when the two do not go together.
    """
    return _merged(spec, newer, "spec")


def _merged(section: T, newer: T, path: str) -> T:
    values: dict[str, Any] = {}
    for field in fields_of(type(section)):
        here = f"{path}.{field.key}"
        old, new = getattr(section, field.name), getattr(newer, field.name)
        if field.nested and old is not None and new is not None:
            values[field.name] = _merged(old, new, here)
        else:
            values[field.name] = new if row_by_path()[here].change is Change.LIVE else old
    return type(section)(**values)

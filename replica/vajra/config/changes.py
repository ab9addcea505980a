"""What differs between two deployments, and what each difference costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vajra.config.options import Change
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.table import leaves, row_by_path, rows


@dataclass(frozen=True)
class ChangedField:
    """One field of the spec that differs; None stands for unset."""

    path: str
    old: Any
    new: Any
    change: Change
    updatable: bool  # whether a running replica of this version takes it over by UpdateConfig


def changed_fields(old: VajraDeploymentSpec, new: VajraDeploymentSpec) -> list[ChangedField]:
    """The fields that differ, in the order of the spec."""
    return [
        ChangedField(row.path, before, after, row.change, row.updatable)
        for row in leaves()
        if (before := row.value(old)) != (after := row.value(new))
    ]


def updatable_paths() -> tuple[str, ...]:
    """What a running replica takes over by UpdateConfig: fields and whole sections, `spec.drain`."""
    known = row_by_path()

    def within_another(path: str) -> bool:
        section = known.get(path.rpartition(".")[0])
        return section is not None and section.updatable

    return tuple(row.path for row in rows() if row.updatable and not within_another(row.path))

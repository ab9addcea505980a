"""What differs between two deployments, and what each difference costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vajra.config.options import Change
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.table import leaves


@dataclass(frozen=True)
class ChangedField:
    """One field of the spec that differs; None stands for unset."""

    path: str
    old: Any
    new: Any
    change: Change


def changed_fields(old: VajraDeploymentSpec, new: VajraDeploymentSpec) -> list[ChangedField]:
    """The fields that differ, in the order of the spec. The running processes take over Live ones alone."""
    return [
        ChangedField(row.path, before, after, row.change)
        for row in leaves()
        if (before := row.value(old)) != (after := row.value(new))
    ]

"""The one table of the manifest's fields: path, reference field, unit, change class, who acts on it.

It is read off the declarations in `vajra.config.spec`; mapping, change classes, support check and documentation use it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vajra.config.fields import ConfigField, field_by_name, fields_of
from vajra.config.options import Change, Scope
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.spec.unions import Union


@dataclass(frozen=True)
class Row:
    """One field of the spec, a leaf or a section.

    path: as in a manifest, `spec.scheduler.fixedChunk.chunkSize`. names: the same in Python, below the spec.
    updatable: whether a change is taken over while everything runs; else it takes a restart in this version.
    reference: the class and field it stands for. available: whether this version can do anything with it at all.
    """

    path: str
    names: tuple[str, ...]
    field: ConfigField
    owner: type[Any]
    change: Change
    updatable: bool
    scope: Scope
    advice: str
    reference: tuple[type[Any], str] | None
    available: bool

    @property
    def is_section(self) -> bool:
        """Whether there are fields below."""
        return self.field.nested is not None

    @property
    def is_member(self) -> bool:
        """Whether it is the member of a union."""
        return issubclass(self.owner, Union) and self.field.name in self.owner.members.values()

    @property
    def doc(self) -> str:
        """What it means: its own words, its reference field's, or its section's."""
        if self.field.option.doc:
            return self.field.option.doc
        if self.reference:
            return field_by_name(*self.reference).option.doc
        return (self.field.nested.__doc__ or "").partition("\n")[0] if self.field.nested else ""

    def value(self, spec: VajraDeploymentSpec) -> Any:
        """What stands there; None also where a section above is not set."""
        here: Any = spec
        for name in self.names:
            here = getattr(here, name, None)
        return here


@functools.cache
def rows() -> tuple[Row, ...]:
    """Every field of the spec, each section before its fields."""
    return tuple(_walk(VajraDeploymentSpec, "spec", (), _Inherited(Change.RECREATE, False, Scope.SERVING, "", True)))


@functools.cache
def row_by_path() -> Mapping[str, Row]:
    """The rows by their path."""
    return {row.path: row for row in rows()}


def leaves() -> tuple[Row, ...]:
    """The fields that hold values."""
    return tuple(row for row in rows() if not row.is_section)


@dataclass(frozen=True)
class _Inherited:
    """What a field takes over from the sections around it where it says nothing itself."""

    change: Change
    updatable: bool
    scope: Scope
    advice: str
    available: bool


def _walk(cls: type[Any], path: str, names: tuple[str, ...], above: _Inherited) -> Iterator[Row]:
    for field in fields_of(cls):
        own = field.option
        here = _Inherited(
            change=own.change or above.change,
            updatable=above.updatable if own.updatable is None else own.updatable,
            scope=own.scope or above.scope,
            advice=own.advice or above.advice,
            available=above.available and _is_available(cls, field),
        )
        row = Row(
            path=f"{path}.{field.key}",
            names=(*names, field.name),
            field=field,
            owner=cls,
            change=here.change,
            updatable=here.updatable,
            scope=here.scope,
            advice=here.advice,
            reference=(cls.reference, own.reference) if own.reference else None,
            available=here.available,
        )
        yield row
        if field.nested:
            yield from _walk(field.nested, row.path, row.names, here)


def _is_available(cls: type[Any], field: ConfigField) -> bool:
    """A section that must stay unset, or a member whose type is not implemented, holds nothing to be had."""
    if issubclass(cls, Union) and field.name in cls.members.values():
        option = field_by_name(cls, "type").option
        kinds = None if option.implemented is None else (*option.implemented, *option.in_cluster)
        return kinds is None or any(cls.members.get(str(kind)) == field.name for kind in kinds)
    return not (field.nested and field.option.implemented == (None,))

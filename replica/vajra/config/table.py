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
    reference: the class and field it stands for. types: the union types that the path runs through.
    """

    path: str
    names: tuple[str, ...]
    field: ConfigField
    owner: type[Any]
    change: Change
    scope: Scope
    advice: str
    reference: tuple[type[Any], str] | None
    types: Mapping[str, str]

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
        """What it means: its own words, or its reference field's."""
        if self.field.option.doc or self.reference is None:
            own = self.field.option.doc
            return own or (self.field.nested.__doc__ or "").splitlines()[0] if self.field.nested else own
        return field_by_name(*self.reference).option.doc

    def value(self, spec: VajraDeploymentSpec) -> Any:
        """What stands there; None also where a section above is not set."""
        here: Any = spec
        for name in self.names:
            here = getattr(here, name, None)
        return here


@functools.cache
def rows() -> tuple[Row, ...]:
    """Every field of the spec, each section before its fields."""
    return tuple(_walk(VajraDeploymentSpec, "spec", (), Change.RECREATE, Scope.SERVING, "", {}))


@functools.cache
def row_by_path() -> Mapping[str, Row]:
    """The rows by their path."""
    return {row.path: row for row in rows()}


def leaves() -> tuple[Row, ...]:
    """The fields that hold values."""
    return tuple(row for row in rows() if not row.is_section)


def _walk(
    cls: type[Any],
    path: str,
    names: tuple[str, ...],
    change: Change,
    scope: Scope,
    advice: str,
    types: Mapping[str, str],
) -> Iterator[Row]:
    type_of_member = {member: name for name, member in cls.members.items()} if issubclass(cls, Union) else {}
    for field in fields_of(cls):
        own = field.option
        below = dict(types)
        if field.name in type_of_member:
            below[path] = type_of_member[field.name]
        row = Row(
            path=f"{path}.{field.key}",
            names=(*names, field.name),
            field=field,
            owner=cls,
            change=own.change or change,
            scope=own.scope or scope,
            advice=own.advice or advice,
            reference=(cls.reference, own.reference) if own.reference else None,
            types=below,
        )
        yield row
        if field.nested:
            yield from _walk(field.nested, row.path, row.names, row.change, row.scope, row.advice, below)

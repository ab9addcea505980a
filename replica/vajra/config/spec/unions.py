"""Unions in the manifest: a `type`, and beside it the member of that name, which only that type may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from vajra.config.polymorphic import Polymorphic

T = TypeVar("T")


class Union:
    """Base of a section with a `type`.

    members: the field that belongs to a type; types without one have nothing more to say.
    needed: the types that cannot do without their member.
    family: the reference family that the types name, if they do.
    """

    members: ClassVar[Mapping[str, str]] = {}
    needed: ClassVar[frozenset[str]] = frozenset()
    family: ClassVar[type[Polymorphic] | None] = None


def when(type_name: str, member: Callable[[], T]) -> Callable[[dict[str, Any]], T | None]:
    """Default of a member: its defaults where the type asks for it, else nothing."""
    return lambda fields: member() if fields.get("type") == type_name else None

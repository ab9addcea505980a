"""Families of configuration classes told apart by their `type`: schedulers, prioritizers, replica controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from vajra.config.errors import MISSING, ConfigError, did_you_mean


class Polymorphic:
    """Base of a family. A direct subclass founds one; its subclasses join by `class X(Family, type="Name")`."""

    type_name: ClassVar[str] = ""
    _registry: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Polymorphic in cls.__bases__:
            cls._registry = {}
            return
        if type is None:  # what several members have in common
            cls.type_name = ""
            return
        if type in cls._registry:
            raise TypeError(f"type {type} is {cls._registry[type].__name__}'s already")
        cls.type_name = type
        cls._registry[type] = cls

    def __new__(cls, *_: Any, **__: Any) -> Self:
        if not cls.type_name:
            members = ", ".join(member.__name__ for member in cls.registry().values())
            raise TypeError(f"{cls.__name__} is a family of classes; use one of {members}")
        return super().__new__(cls)

    @classmethod
    def registry(cls) -> Mapping[str, type[Self]]:
        """The family's classes by type."""
        return cls._registry

    @classmethod
    def class_of(cls, type: object, path: str = "type") -> type[Self]:
        """The class of a type. Raises ConfigError at `path`, naming the types there are."""
        found = cls._registry.get(type) if isinstance(type, str) else None
        if found is None:
            types = list(cls._registry)
            raise ConfigError(path, MISSING if type is None else type, ", ".join(types), did_you_mean(type, types))
        return found  # type: ignore[no-any-return]

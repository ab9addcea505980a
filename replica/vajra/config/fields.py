"""Looks at configuration classes: what fields there are, of which type and within which limits."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from vajra.config.options import Option
from vajra.config.polymorphic import Polymorphic

_LIMITS: Final = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")


@dataclass(frozen=True)
class ConfigField:
    """One field of a configuration class.

    `name` is Python's, `key` the one in data (the manifest's spelling in a manifest class); `type` has no None and
    no annotations left. `default` is MISSING's stand-in `dataclasses.MISSING` for a required field.
    """

    name: str
    key: str
    type: Any
    optional: bool
    default: Any
    limits: Mapping[str, Any]
    option: Option

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is dataclasses.MISSING

    @property
    def nested(self) -> type[Any] | None:
        """The configuration class that the field holds, if it holds one."""
        return self.type if is_config_class(self.type) else None

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a closed list, empty for an open one."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def is_text_map(self) -> bool:
        """Whether it maps text to text."""
        return get_origin(self.type) is dict and get_args(self.type)[1] is not Any

    @property
    def is_quantity(self) -> bool:
        """Whether it is a Kubernetes quantity, an integer or text."""
        return get_origin(self.type) in (types.UnionType, typing.Union)

    @property
    def allowed(self) -> str:
        """What may stand here, for people."""
        return self.option.allowed or _allowed(self)


def is_config_class(cls: Any) -> bool:
    """Whether fields_of applies."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_fields__")


def fields_of(cls: type[Any]) -> tuple[ConfigField, ...]:
    """The fields of a configuration class, in the order of their declaration."""
    return _fields_of(cls)  # type: ignore[arg-type]  # a class is hashable


@functools.cache
def _fields_of(cls: Hashable) -> tuple[ConfigField, ...]:
    infos: Mapping[str, Any] = getattr(cls, "__pydantic_fields__")  # noqa: B009
    spelling = getattr(cls, "__pydantic_config__").get("alias_generator", str)  # noqa: B009
    return tuple(_field(name, spelling(name), info) for name, info in infos.items())


def field_by_key(cls: type[Any], key: str) -> ConfigField | None:
    """The field that has this key in data."""
    return next((field for field in fields_of(cls) if key in (field.key, field.name)), None)


def field_by_name(cls: type[Any], name: str) -> ConfigField:
    """The field of this Python name."""
    return next(field for field in fields_of(cls) if field.name == name)


def _field(name: str, key: str, info: Any) -> ConfigField:
    kind, optional = _without_none(info.annotation)
    if info.default_factory is not None:
        # A factory that takes the fields before it (a union's member) gives nothing without them.
        default = info.default_factory({}) if info.default_factory_takes_validated_data else info.default_factory()
    else:
        default = dataclasses.MISSING if info.default is PydanticUndefined or info.default is ... else info.default
    limits = {
        limit: found
        for constraint in info.metadata
        for limit in _LIMITS
        if (found := getattr(constraint, limit, None)) is not None
    }
    declared = (info.json_schema_extra or {}).get("option", Option())
    return ConfigField(name, key, kind, optional, default, limits, declared)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin in (types.UnionType, typing.Union):
            members = [member for member in get_args(annotation) if member is not type(None)]
            optional = optional or len(members) < len(get_args(annotation))
            if len(members) > 1:
                return annotation, optional
            annotation = members[0]
        elif origin is typing.Annotated:
            annotation = get_args(annotation)[0]
        else:
            return annotation, optional


def _allowed(field: ConfigField) -> str:
    limits = field.limits
    if field.choices:
        return ("one of " if len(field.choices) > 1 else "") + ", ".join(map(str, field.choices))
    if field.type is bool:
        return "true or false"
    if field.type in (int, float):
        return ("an integer" if field.type is int else "a number") + _range(limits)
    if field.type is str:
        return "text" + _length(limits)
    if isinstance(field.type, type) and issubclass(field.type, Polymorphic):
        return "one of " + ", ".join(member.__name__ for member in field.type.registry().values())
    if field.nested:
        return "a mapping with the fields " + ", ".join(inner.key for inner in fields_of(field.nested))
    if field.is_quantity:
        return "a Kubernetes quantity, such as 4, 500m or 16Gi"
    return "a mapping of text to text" if field.is_text_map else "a mapping"


def _range(limits: Mapping[str, Any]) -> str:
    low = limits.get("ge", limits.get("gt"))
    high = limits.get("le", limits.get("lt"))
    above = "above " if "gt" in limits else ""
    if low is not None and high is not None:
        return f" {above or 'from '}{low} {'up ' if above else ''}to {high}"
    if low is not None:
        return f" {above or 'of at least '}{low}"
    return "" if high is None else f" of at most {high}"


def _length(limits: Mapping[str, Any]) -> str:
    text = ""
    if "min_length" in limits and "max_length" in limits:
        text = f" of {limits['min_length']} to {limits['max_length']} characters"
    elif "max_length" in limits:
        text = f" of at most {limits['max_length']} characters"
    elif limits.get("min_length", 0) > 0:
        text = ", not empty"
    return text + (f" that matches {limits['pattern']}" if "pattern" in limits else "")

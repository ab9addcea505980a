"""Reference classes as plain data, YAML and JSON, and back. A member of a family carries its `type`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from vajra.config.errors import ConfigError
from vajra.config.polymorphic import Polymorphic
from vajra.config.validation import validate
from vajra.config.yaml import dump, load

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A reference class's instance as plain data, every field written out."""
    data: dict[str, Any] = {"type": config.type_name} if isinstance(config, Polymorphic) else {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        data[field.name] = to_dict(value) if dataclasses.is_dataclass(value) else value
    return data


def from_dict(cls: type[T], data: Any) -> T:
    """The inverse of `to_dict`. `cls` may be a family (`SchedulerConfig`): the data's `type` chooses the class.

    Raises ConfigError, or ConfigErrors for several faults, with paths that begin with the class's name.
    """
    name = cls.__name__
    if not isinstance(data, Mapping):
        raise ConfigError(name, data, "a mapping")
    if issubclass(cls, Polymorphic):
        chosen = cls.class_of(data.get("type", cls.type_name or None), f"{name}.type")
        if not issubclass(chosen, cls) or (cls.type_name and chosen is not cls):
            raise ConfigError(f"{name}.type", data["type"], cls.type_name)
        rest = {key: value for key, value in data.items() if key != "type"}
        return validate(chosen, rest, chosen.__name__, manifest=False)  # type: ignore[no-any-return]
    return validate(cls, dict(data), name, manifest=False)  # type: ignore[no-any-return]


def to_yaml(config: Any) -> str:
    """As `to_dict`, in YAML."""
    return dump(to_dict(config))


def from_yaml(cls: type[T], text: str) -> T:
    """The inverse of `to_yaml`."""
    return from_dict(cls, load(text, cls.__name__))


def to_json(config: Any) -> str:
    """As `to_dict`, in JSON."""
    return json.dumps(to_dict(config))


def from_json(cls: type[T], text: str) -> T:
    """The inverse of `to_json`."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(cls.__name__, text, "JSON", str(error)) from None
    return from_dict(cls, data)

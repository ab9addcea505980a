"""Turns pydantic's findings into `ConfigError`s that speak of our fields."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.dataclasses import rebuild_dataclass
from pydantic_core import ArgsKwargs

from vajra.config.errors import MISSING, ConfigError, ConfigErrors, did_you_mean, join
from vajra.config.fields import ConfigField, field_by_key, fields_of
from vajra.config.polymorphic import Polymorphic

_building = threading.RLock()
_CONSEQUENCE = "default_factory_not_called"  # of another fault, which is reported itself


def validate(cls: type[Any], data: Any, path: str, *, manifest: bool) -> Any:
    """An instance of `cls` from plain data. `path` is where the data stands.

    In a manifest only the manifest's spelling counts. Raises ConfigError, or ConfigErrors when there are several.
    """
    try:
        return validator_of(cls).validate_python(data, by_alias=manifest, by_name=not manifest)
    except ValidationError as error:
        failure = translated(cls, error, path)
    raise failure


def checked_init(self: Any, **values: Any) -> None:
    """The constructor of every configuration class: pydantic's checks, our errors."""
    try:
        validator_of(type(self)).validate_python(ArgsKwargs((), values), self_instance=self)
        return
    except ValidationError as error:
        failure = translated(type(self), error, type(self).__name__)
    raise failure


def validator_of(cls: Any) -> Any:
    """The validator, built at first use; building sets pydantic's own constructor, which ours replaces."""
    if not cls.__pydantic_complete__:
        with _building:
            rebuild_dataclass(cls)
            cls.__init__ = checked_init
    return cls.__pydantic_validator__


def member_of(family: type[Polymorphic]) -> Callable[[Any], Any]:
    """Makes data with a `type` a config of the family; leaves anything else for the next check."""

    def parse(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        rest = {key: item for key, item in value.items() if key != "type"}
        return validate(family.class_of(value.get("type")), rest, "", manifest=False)

    return parse


def translated(cls: type[Any], error: ValidationError, path: str) -> ConfigError:
    """The exception to raise instead of pydantic's."""
    details = [found for found in error.errors(include_url=False) if found["type"] != _CONSEQUENCE]
    found = [fault for each in details for fault in _faults(cls, each, path)]
    return found[0] if len(found) == 1 else ConfigErrors(found)


def _faults(cls: type[Any], details: Mapping[str, Any], path: str) -> Sequence[ConfigError]:
    kind, value = details["type"], details["input"]
    if kind == "invalid_key":
        return [_invalid_key(_locate(cls, details["loc"][:-1], path)[2], value)]
    owner, field, where = _locate(cls, details["loc"], path)
    if kind == "value_error":
        inner = details["ctx"]["error"]
        if isinstance(inner, ConfigError):
            return [fault.below(where) for fault in inner.errors]
        return [ConfigError(where, value, str(inner))]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        keys = [known.key for known in fields_of(owner)] if owner else []
        hint = did_you_mean(details["loc"][-1], keys)
        return [ConfigError(where, value, ", ".join(keys), hint, problem="no such field")]
    if kind in ("missing", "missing_keyword_only_argument"):
        value = MISSING
    if field is None:
        return [ConfigError(where, value, details["msg"])]
    if field.is_text_map and field.key != details["loc"][-1]:
        return [ConfigError(where, value, "text", "put it in quotes")]
    return [ConfigError(where, value, field.allowed, did_you_mean(value, map(str, field.choices)))]


def _locate(cls: type[Any], loc: Sequence[str | int], path: str) -> tuple[type[Any] | None, ConfigField | None, str]:
    """The class that owns the last step of `loc`, the field there if it is known, and its path.

    Steps below a field that holds no configuration class, such as labels, are still that field's.
    """
    owner: type[Any] | None = None
    field: ConfigField | None = None
    inner: type[Any] | None = cls
    for step in loc:
        if inner is not None:
            owner, field = inner, field_by_key(inner, str(step))
            inner = field.nested if field else None
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, step)
    return owner, field, path


def _invalid_key(path: str, key: Any) -> ConfigError:
    hint = "YAML reads on, off, yes and no as true and false" if isinstance(key, bool) else ""
    return ConfigError(path, key, "text as keys", hint, problem=f"the key {key!r} is not text")

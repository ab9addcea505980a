"""The decorators that make a configuration class: frozen, keyword-only, every field checked, faults explained."""

from __future__ import annotations

from typing import Any, TypeVar, cast, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict

from vajra.config.options import camel, option
from vajra.config.validation import checked_init

T = TypeVar("T")

# Schemas are built at first use: importing the package must not cost a quarter of a second.
_PYTHON = ConfigDict(extra="forbid", defer_build=True, allow_inf_nan=False, protected_namespaces=())
_MANIFEST = ConfigDict(**_PYTHON, alias_generator=camel, validate_by_name=True, validate_by_alias=True)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
def config_class(cls: type[T]) -> type[T]:
    """A reference class: frozen, keyword-only, every field checked, unknown fields refused with `ConfigError`."""
    return _build(cls, _PYTHON)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
def manifest_class(cls: type[T]) -> type[T]:
    """A section of the manifest: as `config_class`, with camelCase keys in a manifest and snake_case in Python.

    `reference` names the reference class that its fields map to.
    """
    return _build(cls, _MANIFEST)


def _build(cls: type[T], config: ConfigDict) -> type[T]:
    built: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(cls)
    built.__init__ = checked_init
    return cast(type[T], built)

"""Sections of a manifest as plain data."""

from __future__ import annotations

from typing import Any

from vajra.config.fields import fields_of, is_config_class


def plain(section: Any, *, defaults: bool) -> dict[str, Any]:
    """A section with the manifest's keys; what is unset is left out, and without `defaults` what is at its default."""
    data: dict[str, Any] = {}
    for field in fields_of(type(section)):
        value = getattr(section, field.name)
        if value is None or (not defaults and not field.required and value == field.default):
            continue
        if not is_config_class(type(value)):
            data[field.key] = value
        elif (inner := plain(value, defaults=defaults)) or defaults or field.required or field.default is None:
            data[field.key] = inner
    return data


def plain_default(value: Any) -> Any:
    """A default as it would stand in a manifest."""
    return plain(value, defaults=False) if is_config_class(type(value)) else value

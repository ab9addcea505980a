"""Views as JSON: the names in the manner of Kubernetes, nothing that is not there."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from vajra.config.options import camel


def document(view: Any) -> Any:
    """A view as plain JSON values. Fields that are None are left out."""
    if is_dataclass(view):
        values = {camel(field.name): document(getattr(view, field.name)) for field in fields(view)}
        return {key: value for key, value in values.items() if value is not None}
    if isinstance(view, tuple | list):
        return [document(each) for each in view]
    return view

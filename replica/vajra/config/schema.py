"""Schemas of a manifest, read off the same declarations that parse it: the writer, and the JSON schema."""

from __future__ import annotations

from typing import Any

from vajra.config.deployment import API_VERSION, KIND, VajraDeployment
from vajra.config.fields import ConfigField, fields_of
from vajra.config.plain import plain_default
from vajra.config.spec.types import QUANTITY_PATTERN
from vajra.config.spec.unions import Union
from vajra.config.table import row_by_path

_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_PRIMITIVES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class SchemaWriter:
    """Writes the schema of a class. Dialects override what they say their own way; `path` is where the class stands."""

    def section(self, cls: type[Any], path: str) -> dict[str, Any]:
        """The schema of a class."""
        fields = fields_of(cls)
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.key: self._property(field, f"{path}.{field.key}".lstrip(".")) for field in fields},
        }
        if required := [field.key for field in fields if field.required]:
            schema["required"] = required
        return schema

    def description(self, field: ConfigField, path: str) -> str:
        """What a field means."""
        row = row_by_path().get(path)
        return row.doc if row else field.option.doc

    def default(self, field: ConfigField) -> Any:
        """A field's default as it would stand in a manifest; None: there is none."""
        return None if field.required else plain_default(field.default)

    def quantity(self) -> dict[str, Any]:
        """The schema of a Kubernetes quantity."""
        raise NotImplementedError

    def open_map(self, field: ConfigField, path: str) -> dict[str, Any]:
        """The schema of a mapping that is no section."""
        raise NotImplementedError

    def _property(self, field: ConfigField, path: str) -> dict[str, Any]:
        schema = self._type(field, path)
        if description := self.description(field, path):
            schema = {"description": description, **schema}
        if (default := self.default(field)) is not None:
            schema["default"] = default
        return schema

    def _type(self, field: ConfigField, path: str) -> dict[str, Any]:
        limits = {_LIMITS[limit]: value for limit, value in field.limits.items()}
        if field.nested:
            return self.section(field.nested, path)
        if field.choices:
            kind = "integer" if isinstance(field.choices[0], int) else "string"
            return {"type": kind, "enum": list(field.choices)}
        if field.type in _PRIMITIVES:
            return {"type": _PRIMITIVES[field.type], **limits}
        return self.quantity() if field.is_quantity else self.open_map(field, path)


class _JsonSchemaWriter(SchemaWriter):
    """JSON schema, draft 2020-12."""

    def section(self, cls: type[Any], path: str) -> dict[str, Any]:
        schema = super().section(cls, path) | {"additionalProperties": False}
        if issubclass(cls, Union) and (rules := _member_rules(cls)):
            schema["allOf"] = rules
        return schema

    def quantity(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": QUANTITY_PATTERN}]}

    def open_map(self, field: ConfigField, path: str) -> dict[str, Any]:
        text = {"additionalProperties": {"type": "string"}} if field.is_text_map else {}
        return {"type": "object", **text}


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a `VajraDeployment` manifest.

    Rules between fields of different sections (`vajra.config.rules`) are not in it.
    """
    schema = _JsonSchemaWriter().section(VajraDeployment, "")
    head = {"apiVersion": {"const": API_VERSION}, "kind": {"const": KIND}}
    status = {"type": "object", "description": "What the operator reports; not read."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KIND,
        **schema,
        "properties": {**head, **schema["properties"], "status": status},
        "required": [*head, *schema["required"]],
    }


def _member_rules(cls: type[Union]) -> list[dict[str, Any]]:
    keys = {field.name: field.key for field in fields_of(cls)}
    rules: list[dict[str, Any]] = []
    for kind, member in cls.members.items():
        is_kind = {"properties": {"type": {"const": kind}}}
        rules.append({"if": {"required": [keys[member]]}, "then": is_kind})
        if kind in cls.needed:
            rules.append({"if": is_kind, "then": {"required": [keys[member]]}})
    return rules

"""The schema of a spec as an API server takes it: structural, with defaults and with the rules between fields in CEL.

Of the rules between sections `vajra.config.rules` has the list; they stand at the spec, so that no section's default,
which the API server checks as it is written, meets a rule before its own fields have theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vajra.config.describe import OptionDescription, describe
from vajra.config.fields import ConfigField, fields_of
from vajra.config.options import Change
from vajra.config.rules import RULES, Rule
from vajra.config.schema import SchemaWriter
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.spec.types import QUANTITY_PATTERN
from vajra.config.spec.unions import Union
from vajra.config.table import row_by_path

_VALIDATIONS: Final = "x-kubernetes-validations"
_CHANGES: Final = {
    Change.LIVE: "A change is taken over while the pods run.",
    Change.RECREATE: "A change starts the pods again.",
}


def spec_schema() -> dict[str, Any]:
    """The schema of `spec`."""
    schema = _StructuralWriter().section(VajraDeploymentSpec, "spec")
    rules = [validation(rule.cel, _message(rule), rule.path, rule.reason) for rule in RULES]
    return {"description": (VajraDeploymentSpec.__doc__ or "").strip(), **schema, _VALIDATIONS: rules}


def validation(cel: str, message: str, path: str, reason: str) -> dict[str, str]:
    """A rule in CEL. `path` is the field at fault; its first step is where the rule stands."""
    return {"rule": cel, "message": message, "fieldPath": path[path.index(".") :], "reason": reason}


def _message(rule: Rule) -> str:
    """What the API server says after "Forbidden: ", "Required value: " or the value that it found."""
    allowed = f"allowed: {rule.allowed}" if rule.reason == "FieldValueInvalid" else rule.allowed
    return f"{allowed}; {rule.hint}" if rule.hint else allowed


class _StructuralWriter(SchemaWriter):
    """Structural OpenAPI v3. What is not in a schema is refused or pruned by itself."""

    def section(self, cls: type[Any], path: str) -> dict[str, Any]:
        schema = super().section(cls, path)
        if issubclass(cls, Union) and (rules := list(_member_rules(cls))):
            schema[_VALIDATIONS] = rules
        return schema

    def description(self, field: ConfigField, path: str) -> str:
        """With what `kubectl explain` does not show by itself: limits, default, and the cost of a change."""
        row = row_by_path()[path]
        above = row_by_path().get(path.rpartition(".")[0])
        change = "" if above is not None and above.change is row.change else _CHANGES[row.change]
        return " ".join(part for part in (row.doc, _limits(path), change) if part)

    def default(self, field: ConfigField) -> Any:
        """Of a union only its type: a member that stood in the object would be in the way of the next type."""
        if field.nested is None or field.required or field.default is None:
            return super().default(field)
        return {"type": field.default.type} if issubclass(field.nested, Union) else {}

    def quantity(self) -> dict[str, Any]:
        return {"x-kubernetes-int-or-string": True, "minimum": 0, "pattern": QUANTITY_PATTERN}

    def open_map(self, field: ConfigField, path: str) -> dict[str, Any]:
        assert path == "spec.podTemplate", f"the CRD has no schema for {path}"
        return _pod_template()


def _limits(path: str) -> str:
    """What may stand in a field that holds a value, and what does by default, as a sentence."""
    option, field = _options().get(path), row_by_path()[path].field
    if option is None:
        return ""
    parts = []
    if field.type is int or field.is_quantity or field.option.allowed:
        parts.append(option.allowed)
    if option.default not in ("required", "unset"):
        parts.append(f"default `{option.default}`" if field.type is str else f"default {option.default}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


@functools.cache
def _options() -> Mapping[str, OptionDescription]:
    return {option.path: option for option in describe()}


def _member_rules(cls: type[Union]) -> Iterator[dict[str, str]]:
    keys = {field.name: field.key for field in fields_of(cls)}
    for kind, member in cls.members.items():
        key = keys[member]
        message = f"only with type {kind}: set that type, or take {key} away (in a patch, {key}: null)"
        yield validation(f"!has(self.{key}) || self.type == '{kind}'", message, f"self.{key}", "FieldValueForbidden")
        if kind in cls.needed:
            message = f"type {kind} needs it"
            yield validation(f"self.type != '{kind}' || has(self.{key})", message, f"self.{key}", "FieldValueRequired")


def _pod_template() -> dict[str, Any]:
    """The skeleton of spec.podTemplate (`vajra.config.spec.pod_template`); all else is kept as it is written."""
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    container = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"description": "gateway, worker, or one of your own.", "type": "string", "minLength": 1}
        },
        "x-kubernetes-preserve-unknown-fields": True,
    }
    containers = {
        "description": "Containers, told apart by name: what is said of worker is merged into it.",
        "type": "array",
        "items": container,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    metadata = {
        "labels": {"description": "Labels of the pods.", **texts},
        "annotations": {"description": "Annotations of the pods.", **texts},
    }
    return {
        "type": "object",
        "properties": {
            "metadata": {"description": "Labels and annotations.", "type": "object", "properties": metadata},
            "spec": {
                "description": "Fields of a pod's spec, such as nodeSelector and tolerations.",
                "type": "object",
                "properties": {"containers": containers},
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    }

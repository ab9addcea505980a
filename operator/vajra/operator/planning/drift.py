"""Whether an observed object differs in what we own of it.

Values: everything in our manifest must be there as it is; what the API server or others have added does not count.
Fields: of managedFields, what our earlier applies own must still be in our manifest, else an apply has to let it go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vajra.operator.model import Manifest
from vajra.operator.planning.quantities import quantity

FIELD_MANAGER: Final = "vajra-operator"
_QUANTITIES: Final = ("limits", "requests", "sizeLimit", "storage")  # fields that hold quantities
# How an API server tells the items of a list apart, where it is not by their place.
_KEYS: Final = ("mountPath", "name", "uid", "topologyKey")
_KEY_DEFAULTS: Final = {"protocol": "TCP"}


def differs(desired: Manifest, observed: Manifest) -> bool:
    """Whether our manifest has to be applied to what is observed."""
    return not _holds(desired, observed, "") or _owns_more(desired, observed)


def _holds(desired: Any, observed: Any, field: str) -> bool:
    """Whether all of `desired` is in `observed`."""
    if isinstance(desired, Mapping):
        if not isinstance(observed, Mapping):
            return not desired and observed is None
        inner = "limits" if field in _QUANTITIES else ""
        return all(_holds(value, observed.get(key), inner or key) for key, value in desired.items())
    if isinstance(desired, list):
        return _holds_items(desired, observed or [], field)
    if field in _QUANTITIES and (wanted := quantity(desired)) is not None:
        return wanted == quantity(observed)
    # The API server leaves out what is empty.
    return bool(desired == observed) or (desired in (False, "", None) and observed is None)


def _holds_items(desired: Sequence[Any], observed: Sequence[Any], field: str) -> bool:
    key = next((key for key in _KEYS if _tells_apart(key, desired)), None)
    if key is None:
        return len(desired) == len(observed) and all(
            _holds(wanted, found, field) for wanted, found in zip(desired, observed, strict=True)
        )
    found = {each.get(key): each for each in observed}
    return all(_holds(each, found.get(each[key]), field) for each in desired)


def _tells_apart(key: str, items: Sequence[Any]) -> bool:
    values = [each.get(key) for each in items if isinstance(each, Mapping)]
    return len(values) == len(items) and None not in values and len(set(values)) == len(values)


def _owns_more(desired: Manifest, observed: Manifest) -> bool:
    """Whether an earlier apply of ours set a field that our manifest no longer has."""
    return any(
        not _covers(desired, entry.get("fieldsV1", {}))
        for entry in observed["metadata"].get("managedFields", ())
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")
    )


def _covers(desired: Any, owned: Mapping[str, Any]) -> bool:
    """Whether all fields of a managedFields set are in `desired`."""
    return all(_covers_one(desired, step, below) for step, below in owned.items())


def _covers_one(desired: Any, step: str, below: Mapping[str, Any]) -> bool:
    kind, _, name = step.partition(":")
    if kind == "f":  # a field
        return isinstance(desired, Mapping) and name in desired and _covers(desired[name], below)
    if kind == "k":  # an item of a list, by its keys
        keys = json.loads(name)
        return isinstance(desired, list) and any(_has(each, keys) and _covers(each, below) for each in desired)
    if kind == "v":  # an item of a set
        return isinstance(desired, list) and json.loads(name) in desired
    return True  # "." is the field itself


def _has(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    return all(item.get(key, _KEY_DEFAULTS.get(key)) == value for key, value in keys.items())

"""The patch that a status is written with."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vajra.operator.executor import merge_patch

leaves = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a"]) | st.lists(st.integers(0, 2))
objects = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), leaves | inner, max_size=3),
    max_leaves=8,
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    """As an API server keeps it."""
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}


@given(objects, objects)
def test_the_patch_turns_old_into_new_and_equals_need_none(old: dict[str, Any], new: dict[str, Any]) -> None:
    old, target = without_nulls(old), without_nulls(new)
    patch = merge_patch(old, new)
    assert merged(old, patch) == target
    assert (patch == {}) == (old == target)

"""What counts as a difference between what we own and what is there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.planning.cluster import Cluster, minimal_spec

from vajra.operator.planning.drift import differs
from vajra.operator.planning.quantities import quantity

SERVICE: dict[str, Any] = {
    "metadata": {"name": "llama", "labels": {"a": "b"}},
    "spec": {
        "selector": {"role": "gateway"},
        "ports": [
            {"name": "grpc", "port": 8471, "targetPort": 8471, "protocol": "TCP"},
            {"name": "openai", "port": 8000, "targetPort": 8000, "protocol": "TCP"},
        ],
    },
}
OWNED = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:selector": {},
        "f:ports": {
            'k:{"port":8471,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}},
            'k:{"port":8000,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}},
        },
    },
}


def observed(**more: Any) -> dict[str, Any]:
    """As an API server has it: with defaults, other people's fields and the book of owners."""
    found = copy.deepcopy(SERVICE)
    found["metadata"]["labels"]["theirs"] = "x"
    found["metadata"]["managedFields"] = [
        {"manager": "vajra-operator", "operation": "Apply", "fieldsV1": OWNED},
        {"manager": "kubectl-label", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
    ]
    found["spec"] |= {"clusterIP": "10.0.0.1", "sessionAffinity": "None", **more}
    return found


def test_defaults_and_other_peoples_fields_are_no_difference() -> None:
    assert not differs(SERVICE, observed())


def test_a_changed_value_is_one() -> None:
    assert differs(SERVICE, observed(selector={"role": "other"}))


def test_a_missing_item_is_one() -> None:
    assert differs(SERVICE, observed(ports=SERVICE["spec"]["ports"][:1]))


def test_what_we_no_longer_want_is_one_while_we_own_it() -> None:
    desired = copy.deepcopy(SERVICE)
    del desired["spec"]["ports"][1]
    found = observed()
    assert differs(desired, found)
    del found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]['k:{"port":8000,"protocol":"TCP"}']
    assert not differs(desired, found), "now it is another's"


def test_a_label_that_we_no_longer_want_is_one() -> None:
    desired = copy.deepcopy(SERVICE)
    desired["metadata"]["labels"] = {}
    assert differs(desired, observed())


@pytest.mark.parametrize(
    ("written", "read"), [("1000m", "1"), ("0.5", "500m"), (2, "2"), ("1024Mi", "1Gi"), ("1e3", "1k")]
)
def test_quantities_are_compared_by_value(written: Any, read: Any) -> None:
    wanted = {"metadata": {}, "spec": {"resources": {"limits": {"x": written}}}}
    found = {"metadata": {}, "spec": {"resources": {"limits": {"x": read}}}}
    assert not differs(wanted, found)
    found["spec"]["resources"]["limits"]["x"] = "7777"
    assert differs(wanted, found)


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_a_quantity_scales(number: int, suffix: str) -> None:
    one, many = quantity(f"1{suffix}"), quantity(f"{number}{suffix}")
    assert one is not None
    assert many == number * one


@pytest.mark.parametrize("value", ["", "Gi", "1 Gi", "1KiB", True, None, 1.5])
def test_what_is_no_quantity_is_none(value: Any) -> None:
    assert quantity(value) is None


def test_lists_without_names_are_compared_by_place() -> None:
    wanted = {"metadata": {}, "spec": {"command": ["a", "b"]}}
    assert not differs(wanted, {"metadata": {}, "spec": {"command": ["a", "b"]}})
    assert differs(wanted, {"metadata": {}, "spec": {"command": ["b", "a"]}})
    assert differs(wanted, {"metadata": {}, "spec": {"command": ["a", "b", "c"]}})


def test_every_value_of_every_object_counts() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    for item in cluster.objects.values():
        if item["kind"] != "Pod":
            for path in _leaves(item):
                changed = copy.deepcopy(item)
                _set(changed, path, "changed")
                assert differs(item, changed), path


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, item in inner for leaf in _leaves(item, (*path, key))]
    return found or ([path] if not isinstance(value, dict | list) else [])


def _set(item: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        item = item[key]
    item[path[-1]] = value

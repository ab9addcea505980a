"""The way back to a revision, from whatever is there: its very name, and every live setting as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from tests.config.strategies import manifests

from vajra.cli.errors import CommandError
from vajra.cli.kubectl.views.rollout import chosen, history, way_back
from vajra.config import API_VERSION, KIND, Change, VajraDeployment, changed_fields
from vajra.operator.planning.history import Live, files, revision_spec
from vajra.operator.planning.revision import revision_of


def read(spec: dict[str, Any]) -> VajraDeployment:
    return VajraDeployment.from_dict(
        {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "llama"}, "spec": spec}
    )


def kept(*specs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A VajraDeployment of the last spec whose operator has kept all of them, and its ConfigMap."""
    read_specs = [read(spec).spec for spec in specs]
    revisions = [revision_of(spec) for spec in read_specs]
    records = [
        {"name": each.name, "hash": each.hash, "generation": number, "createdTime": "2026-01-01T00:00:00Z"}
        for number, each in enumerate(revisions, 1)
    ]
    raw = {
        each.name: revision_spec(spec, spec.image or "default:1")
        for each, spec in zip(revisions, read_specs, strict=True)
    }
    stored = read(specs[-1]).to_dict()["spec"]
    deployment = {
        "metadata": {"name": "llama", "namespace": "default", "generation": len(specs)},
        "spec": stored,
        "status": {"revisions": records, "currentRevision": revisions[0].name, "updateRevision": revisions[-1].name},
    }
    return deployment, {"data": files("llama", raw, Live(len(specs), stored))}


@given(manifests(), manifests())
@settings(max_examples=40)
def test_it_leads_to_the_very_revision_and_keeps_live_settings(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, now = read(old["spec"]).spec, read(new["spec"]).spec
    assume(revision_of(before) != revision_of(now))
    deployment, config_map = kept(old["spec"], new["spec"])
    patch = way_back(deployment, chosen(deployment, history(deployment, config_map), None))
    after = read(patch[1]["value"]).spec
    assert revision_of(after) == revision_of(before)
    assert {change.change for change in changed_fields(now, after)} == {Change.RECREATE}


def test_an_image_that_was_the_operators_default_is_not_asked_for_afterwards() -> None:
    plain: dict[str, Any] = {"model": {"name": "m"}}
    for spec in (plain, {**plain, "image": "mine:1"}):
        deployment, config_map = kept(spec, {**plain, "image": "other:1"})
        value = way_back(deployment, chosen(deployment, history(deployment, config_map), None))[1]["value"]
        assert value.get("image") == spec.get("image")


def test_which_revision_is_meant() -> None:
    deployment, config_map = kept(*({"model": {"name": name}} for name in "abc"))
    revisions = history(deployment, config_map)
    assert [each.generation for each in revisions] == [3, 2, 1]
    assert chosen(deployment, revisions, None).generation == 1, "what was rolled out last, out of a rollout"
    deployment["status"]["currentRevision"] = revisions[0].name
    assert chosen(deployment, revisions, None).generation == 2
    assert chosen(deployment, revisions, "1") == chosen(deployment, revisions, revisions[2].name) == revisions[2]
    for wrong, words in (("3", "already"), ("9", "allowed: 3"), (None, "no earlier revision")):
        with pytest.raises(CommandError, match=words):
            chosen(deployment, revisions[:1] if wrong is None else revisions, wrong)


def test_a_revision_without_its_file_is_not_guessed() -> None:
    deployment, _ = kept({"model": {"name": "a"}}, {"model": {"name": "b"}})
    target = chosen(deployment, history(deployment, None), None)
    with pytest.raises(CommandError, match="apply the earlier manifest"):
        way_back(deployment, target)

"""Live fields: what a process takes over at its start and while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.config.strategies import manifests

from vajra.config import (
    API_VERSION,
    KIND,
    Change,
    ConfigError,
    LiveSettings,
    UpdateRefused,
    VajraDeployment,
    changed_fields,
    with_live_fields,
)
from vajra.config.table import leaves


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "x"},
        "spec": {"model": {"name": "m"}, **spec},
    }


def chunks(batch: int, chunk: int) -> dict[str, Any]:
    return {"type": "FixedChunk", "fixedChunk": {"maxBatchSize": batch, "chunkSize": chunk}}


@given(manifests(), manifests())
def test_live_fields_are_the_newer_ones_and_all_others_stay(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = VajraDeployment.from_dict(old).spec, VajraDeployment.from_dict(new).spec
    merged = with_live_fields(before, after)
    for row in leaves():
        expected = after if row.change is Change.LIVE else before
        assert row.value(merged) == row.value(expected), row.path
    assert with_live_fields(before, before) == before


def folder(path: Path, live: object | None, **spec: Any) -> Path:
    (path / "revision-r1.json").write_text(json.dumps(manifest(**spec)))
    if live is not None:
        (path / "live.json").write_text(live if isinstance(live, str) else json.dumps(live))
    return path


def test_a_start_takes_the_revision_and_what_is_live(tmp_path: Path) -> None:
    newer = manifest(scheduler=chunks(4, 64), cache={"blockSize": 8}, drain={"timeoutSeconds": 7})["spec"]
    plain = LiveSettings.from_folder(folder(tmp_path, None, cache={"blockSize": 32}), "r1")
    assert (plain.generation, plain.revision) == (0, "r1")
    settings = LiveSettings.from_folder(folder(tmp_path, {"generation": 5, "spec": newer}), "r1")
    assert (settings.generation, settings.revision) == (5, "r1")
    spec = settings.deployment.spec
    assert (spec.scheduler.fixed_chunk, spec.drain.timeout_seconds) == (
        VajraDeployment.from_dict(manifest(scheduler=chunks(4, 64))).spec.scheduler.fixed_chunk,
        7,
    )
    assert spec.cache.block_size == 16, "the revision's own"


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ("{", "live.json: is not JSON"),
        ("[]", "live.json: .* a JSON object"),
        ({"spec": {}}, '"generation": an integer'),
        ({"generation": True, "spec": {}}, '"generation": an integer'),
        ({"generation": -1, "spec": {}}, '"generation": an integer'),
        ({"generation": 1, "spec": {}, "x": 1}, "nothing else"),
        ({"generation": 1, "spec": {"model": {"name": "m"}, "drian": {}}}, r"live\.json\.spec\.drian: .* mean drain"),
    ],
)
def test_a_start_with_a_broken_folder_says_which_file(tmp_path: Path, live: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LiveSettings.from_folder(folder(tmp_path, live), "r1")


def test_a_start_without_its_revision_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"revision-r2\.json: cannot be read: No such file"):
        LiveSettings.from_folder(folder(tmp_path, None), "r2")


def test_an_update_is_one_transaction_with_a_generation() -> None:
    running = LiveSettings(VajraDeployment.from_dict(manifest()), generation=3)
    applied: list[VajraDeployment] = []

    def prepare(deployment: VajraDeployment) -> Callable[[], None]:
        return lambda: applied.append(deployment)

    def update(generation: int, *, validate_only: bool = False, **spec: Any) -> None:
        running.update(generation, json.dumps(manifest(**spec)["spec"]), prepare, validate_only=validate_only)

    update(3)
    update(4)
    assert (applied, running.generation) == ([], 4), "nothing differs: acknowledged"
    update(5, validate_only=True, replicas=7)
    assert (applied, running.generation) == ([], 4), "it would be taken over, and is not"
    update(5, replicas=7)
    update(5, replicas=7)
    assert (len(applied), running.generation) == (1, 5), "the same again is acknowledged"
    with pytest.raises(UpdateRefused, match=r"5 is in force with another value of spec\.replicas"):
        update(5, replicas=8)
    with pytest.raises(UpdateRefused, match="generation 4 is older than 5"):
        update(4, replicas=8)
    with pytest.raises(UpdateRefused, match=r"spec\.cache\.blockSize, spec\.image; live are.*spec\.scheduler"):
        update(6, scheduler={"type": "DynamicChunk"}, cache={"blockSize": 8}, image="i", replicas=9)
    with pytest.raises(ConfigError, match=r"spec\.replicas"):
        update(6, replicas=-1)
    with pytest.raises(ConfigError, match="spec_json: is not JSON"):
        running.update(6, "{", prepare)

    def refuse(deployment: VajraDeployment) -> Callable[[], None]:
        raise UpdateRefused("no room")

    with pytest.raises(UpdateRefused, match="no room"):
        running.update(6, json.dumps(manifest(replicas=9)["spec"]), refuse)
    assert (len(applied), running.generation, running.deployment.spec.replicas) == (1, 5, 7)


def test_a_process_without_a_revision_names_what_is_in_force() -> None:
    one, two = (LiveSettings(VajraDeployment.from_dict(manifest(replicas=n))) for n in (1, 2))
    assert one.revision != two.revision
    two.update(1, json.dumps(manifest(replicas=1)["spec"]), lambda deployment: lambda: None)
    assert one.revision == two.revision


def test_taken_over_while_running() -> None:
    old = VajraDeployment.from_dict(manifest()).spec
    scheduler = chunks(4, 64) | {"profile": {"type": "HostPath", "hostPath": {"path": "/p"}}}
    changed = manifest(scheduler=scheduler, prioritizer={"type": "EDF"}, metrics={"mode": "Enabled"}, image="i")
    new = VajraDeployment.from_dict(changed).spec
    assert {change.path: change.updatable for change in changed_fields(old, new)} == {
        "spec.scheduler.fixedChunk.maxBatchSize": True,
        "spec.scheduler.fixedChunk.chunkSize": True,
        "spec.scheduler.profile.type": False,
        "spec.scheduler.profile.hostPath.path": False,
        "spec.prioritizer.type": True,
        "spec.prioritizer.edf.deadlineMultiplierPercent": True,
        "spec.prioritizer.edf.minDeadlineMilliseconds": True,
        "spec.metrics.mode": False,
        "spec.image": False,
    }


def test_a_process_keeps_its_profile_when_its_scheduler_changes(tmp_path: Path) -> None:
    named = {"type": "HostPath", "hostPath": {"path": "/old"}}
    other = {"type": "ConfigMap", "configMap": {"name": "new"}}
    newer = manifest(scheduler={"type": "SpaceSharing", "profile": other}, prioritizer={"type": "LRS"})["spec"]
    live = {"generation": 2, "spec": newer}
    started = LiveSettings.from_folder(folder(tmp_path, live, scheduler={"type": "FixedChunk", "profile": named}), "r1")
    assert started.deployment.to_dict()["spec"]["scheduler"]["profile"] == named, "it is read when a worker starts"
    assert started.deployment.spec.scheduler.type == "SpaceSharing"
    assert started.deployment.spec.prioritizer.type == "LRS"
    running = LiveSettings(VajraDeployment.from_dict(manifest()))
    with pytest.raises(UpdateRefused, match=r"runs: spec\.scheduler\.profile\.type, .*profile\.configMap\.name"):
        running.update(1, json.dumps(newer), lambda deployment: pytest.fail("nothing of it may be applied"))

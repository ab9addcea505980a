"""Scaling, rolling out, holding and going back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.planning.cluster import Cluster, Object, minimal_spec, parallel_spec

from vajra.operator.model import Apply, Create, Delete, Drain, UpdateConfig
from vajra.operator.planning import names


def settled(**fields: Any) -> Cluster:
    cluster = Cluster(minimal_spec(**fields))
    cluster.settle()
    return cluster


def gateway_revisions(cluster: Cluster) -> set[str]:
    return {pod["metadata"]["labels"][names.REVISION] for pod in cluster.pods(names.GATEWAY).values()}


# -- scaling -------------------------------------------------------------------------------------------------------


@given(work=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=3))
@settings(max_examples=10)
def test_scale_down_takes_the_replicas_with_the_least_work(work: list[tuple[int, int]]) -> None:
    cluster = settled(replicas=3)
    for index, (running, waiting) in enumerate(work):
        process = cluster.process(f"llama-{index}-0")
        process.running, process.waiting = running, waiting
    cluster.change(replicas=1)
    made = cluster.plan()
    gone = {int(action.name.split("-")[1]) for action in made.actions if isinstance(action, Delete)}
    kept = ({0, 1, 2} - gone).pop()
    assert sum(work[kept]) == max(map(sum, work))
    assert len(gone) == 2


def test_surge_is_for_rollouts_alone() -> None:
    cluster = settled(replicas=3, rollout={"maxSurge": 2})
    cluster.change(replicas=2)
    cluster.settle()
    assert len(cluster.serving()) == 2


def test_a_replica_that_does_not_answer_may_have_the_most_work() -> None:
    cluster = settled(replicas=2)
    cluster.process("llama-0-0").running = 9
    cluster.process("llama-1-0").answers = False
    cluster.change(replicas=1)
    assert [action.name for action in cluster.plan().actions if isinstance(action, Delete)] == ["llama-0-0"]


def test_what_does_not_serve_goes_before_what_does_and_has_nothing_to_drain() -> None:
    cluster = settled(replicas=2)
    cluster.change(replicas=3)
    for _ in range(2):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    assert [process.phase for process in cluster.processes.values()].count("Starting") == 1
    cluster.change(replicas=2)
    made = cluster.plan()
    assert [action.name for action in made.actions if isinstance(action, Delete)] == ["llama-2-0"]
    assert not [action for action in made.actions if isinstance(action, Drain)]


def test_what_does_not_serve_goes_before_what_is_outdated() -> None:
    cluster = settled(replicas=2, rollout={"maxSurge": 1, "maxUnavailable": 0})
    cluster.change(cache={"blockSize": 32})
    cluster.carry_out(cluster.plan())
    assert "llama-2-0" in cluster.pods()
    cluster.change(replicas=1)
    assert "llama-2-0" in [action.name for action in cluster.plan().actions if isinstance(action, Delete)]


def test_a_leader_is_drained_and_its_followers_wait_for_it() -> None:
    cluster = Cluster(parallel_spec(replicas=2, drain={"timeoutSeconds": 60, "endpointGraceSeconds": 5}))
    cluster.settle()
    cluster.change(replicas=1)
    made = cluster.plan()
    going = [action for action in made.actions if isinstance(action, Drain | Delete)]
    assert isinstance(going[0], Drain)
    assert isinstance(going[1], Delete)
    assert (going[0].pod, going[1].name, len(going)) == ("llama-1-0", "llama-1-0", 2)
    assert (going[1].grace_seconds or 0) > 65, "requests may finish"
    cluster.carry_out(made)
    assert cluster.condition("Progressing")["reason"] == "Scaling"
    made = cluster.plan()
    assert (made.status["replicas"], made.status["updatedReplicas"]) == (2, 1)
    assert not [action for action in cluster.plan().actions if isinstance(action, Delete)], "the leader is not done"
    cluster.progress("llama-1-0")
    assert [action.name for action in cluster.plan().actions if isinstance(action, Delete)] == ["llama-1-1"]


def test_a_replica_that_drains_already_leaves() -> None:
    cluster = settled(replicas=2)
    cluster.process("llama-0-0").phase = "Draining"
    made = cluster.plan()
    assert [action.name for action in made.actions if isinstance(action, Delete)] == ["llama-0-0"]
    assert not [action for action in made.actions if isinstance(action, Drain)]


def test_a_group_is_completed_until_its_ranks_have_met() -> None:
    cluster = Cluster(parallel_spec())
    made = cluster.plan()
    cluster.write_status(made)
    for action in made.actions:
        if not (isinstance(action, Create) and action.manifest["metadata"]["name"] == "llama-0-1"):
            cluster.do(action)
    actions = cluster.plan().actions
    assert [action.manifest["metadata"]["name"] for action in actions if isinstance(action, Create)] == ["llama-0-1"]
    assert not [action for action in actions if isinstance(action, Delete)]
    cluster.settle()
    del cluster.objects["Pod", "llama-0-1"]
    assert [action.name for action in cluster.plan().actions if isinstance(action, Delete)] == ["llama-0-0"]


def test_an_evicted_follower_takes_its_group_along() -> None:
    cluster = Cluster(parallel_spec(replicas=2))
    cluster.settle()
    cluster.evict("llama-0-1")
    going = [action for action in cluster.plan().actions if isinstance(action, Drain | Delete)]
    assert [type(action) for action in going] == [Drain, Delete]
    cluster.settle()
    assert cluster.serving() == {0, 1}


@pytest.mark.parametrize("surge", [0, 1])
def test_an_evicted_replica_is_replaced_at_once_where_there_is_room(surge: int) -> None:
    cluster = settled(replicas=2, rollout={"maxSurge": surge, "maxUnavailable": 1})
    cluster.evict("llama-0-0")  # and goes on with its requests
    created = [action for action in cluster.plan().actions if isinstance(action, Create)]
    assert len(created) == surge
    cluster.settle()
    assert len(cluster.serving()) == 2


@given(order=st.permutations([f"llama-{replica}-{pod}" for replica in range(3) for pod in range(2)]))
@settings(max_examples=20)
def test_where_there_is_room_for_one_replica_and_a_half_one_serves(order: list[str]) -> None:
    cluster = Cluster(parallel_spec(replicas=3), room=3)
    cluster.carry_out(cluster.plan())
    for name in order:
        cluster.progress(name)
    cluster.settle()
    assert len(cluster.serving()) == 1
    assert cluster.condition("Ready")["reason"] in ("Unschedulable", "InsufficientGPUs")
    cluster.room = None
    cluster.settle()
    assert cluster.serving() == {0, 1, 2}


def test_spec_replicas_is_read_and_never_written() -> None:
    cluster = settled(replicas=2)
    cluster.change(replicas=3)
    for action in cluster.plan().actions:
        assert getattr(action, "manifest", {}).get("kind") != "VajraDeployment"


@pytest.mark.parametrize("fields", [{"suspend": True}, {"replicas": 0}])
def test_gateways_go_before_the_replicas_and_the_rest_stays(fields: Object) -> None:
    cluster = settled(replicas=2)
    cluster.change(**fields)
    made = cluster.plan()
    assert not [action for action in made.actions if isinstance(action, Delete)], "gateways may have requests"
    cluster.carry_out(made)
    for name in cluster.pods(names.GATEWAY):
        cluster.evict(name)
    assert not [action for action in cluster.plan().actions if isinstance(action, Delete)], "they finish them"
    cluster.settle()
    assert not cluster.pods()
    assert ("Service", "llama") in cluster.objects
    assert ("ConfigMap", "llama-config") in cluster.objects
    assert cluster.objects["Deployment", "llama-gateway"]["spec"]["replicas"] == 0
    cluster.change(suspend=False, replicas=2)
    cluster.settle()
    assert cluster.serving() == {0, 1}
    assert cluster.condition("Ready")["status"] == "True"


def test_nothing_is_begun_for_gateways_that_go() -> None:
    cluster = settled(replicas=2, rollout={"maxSurge": 2, "maxUnavailable": 1})
    cluster.change(replicas=0, cache={"blockSize": 32})
    assert not [action for action in cluster.plan().actions if isinstance(action, Create | Delete)]
    cluster.settle()
    assert not cluster.pods()


# -- rolling out ---------------------------------------------------------------------------------------------------


def roll(cluster: Cluster, **fields: Any) -> list[int]:
    """Changes the revision and lets it roll, without a replica too many; how many served at each step."""
    cluster.change(cache={"blockSize": 32}, **fields)
    served, created = [], 0
    for _ in range(60):
        made = cluster.plan()
        cluster.carry_out(made)
        created += sum(isinstance(action, Create) for action in made.actions)
        order = [kind for each in made.actions for kind in (Apply, Delete, Create) if isinstance(each, kind)]
        assert order == sorted(order, key=(Apply, Delete, Create).index), "what pods need, then room, then pods"
        served.append(len(cluster.serving()))
        cluster.live_on()
    assert created == cluster.spec["replicas"]
    return served


def roll_one(cluster: Cluster) -> str:
    """Changes the revision and lets one replica go over; its pod."""
    old = set(cluster.revisions().values())
    cluster.change(cache={"blockSize": 32})
    while len(set(cluster.revisions().values())) == 1 or len(cluster.serving()) < cluster.spec["replicas"]:
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    (name,) = (name for name, revision in cluster.revisions().items() if revision not in old)
    return name


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (1, 0), (1, 1), (2, 0), (0, 3)])
def test_a_rollout_keeps_enough_serving(surge: int, unavailable: int) -> None:
    cluster = settled(replicas=3, rollout={"maxSurge": surge, "maxUnavailable": unavailable})
    old = set(cluster.revisions().values())
    served = roll(cluster)
    assert min(served) >= 3 - unavailable
    assert len(cluster.serving()) == 3
    assert not old & set(cluster.revisions().values())


def test_a_revision_is_current_once_the_one_before_is_gone() -> None:
    cluster = settled(replicas=2, rollout={"maxSurge": 2, "maxUnavailable": 0})
    (old,) = set(cluster.revisions().values())
    cluster.change(cache={"blockSize": 32})
    while old in cluster.revisions().values():
        cluster.carry_out(cluster.plan())
        assert cluster.status["currentRevision"] == old
        cluster.live_on()
    cluster.settle()
    assert cluster.status["currentRevision"] == cluster.status["updateRevision"] != old


def test_a_rollout_that_scales_down_keeps_enough_serving() -> None:
    cluster = settled(replicas=3)
    served = roll(cluster, replicas=2)
    assert min(served) >= 1
    assert len(cluster.serving()) == 2


def test_scaling_down_takes_what_is_outdated_whatever_its_work() -> None:
    cluster = settled(replicas=3)
    new = roll_one(cluster)
    for name in cluster.replica_pods():
        cluster.process(name).running = 0 if name == new else 9
    cluster.change(replicas=2)
    assert new not in [action.name for action in cluster.plan().actions if isinstance(action, Delete)]


def test_the_replica_with_the_least_work_rolls_first() -> None:
    cluster = settled(replicas=3)
    for name, running in (("llama-0-0", 5), ("llama-1-0", 1), ("llama-2-0", 7)):
        cluster.process(name).running = running
    cluster.change(cache={"blockSize": 32})
    assert [action.name for action in cluster.plan().actions if isinstance(action, Delete)] == ["llama-1-0"]


def test_a_paused_rollout_waits() -> None:
    cluster = settled(replicas=2)
    before = cluster.revisions()
    cluster.change(cache={"blockSize": 32}, rollout={"paused": True})
    cluster.settle()
    assert cluster.revisions() == before
    assert cluster.condition("Progressing")["reason"] == "Paused"
    assert cluster.condition("Ready")["status"] == "False"
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.status["pendingChange"] == {"impact": "Recreate", "fields": ["spec.cache.blockSize"]}
    cluster.fail("llama-0-0")
    cluster.settle()
    assert cluster.revisions() == before, "what heals meanwhile stays at the old revision"
    cluster.change(rollout={"paused": False})
    cluster.settle()
    assert cluster.condition("Ready")["status"] == "True"
    assert "pendingChange" not in cluster.status


def test_a_rollout_that_is_paused_half_way_goes_neither_on_nor_back() -> None:
    cluster = settled(replicas=2)
    roll_one(cluster)
    half = cluster.revisions()
    cluster.change(rollout={"paused": True})
    cluster.settle()
    assert cluster.revisions() == half
    assert gateway_revisions(cluster) == {cluster.status["updateRevision"]}, (
        "they go over with the half of the replicas"
    )


def test_a_partition_keeps_the_lower_indices() -> None:
    cluster = settled(replicas=3)
    old = cluster.revisions()
    cluster.change(cache={"blockSize": 32}, rollout={"partition": 2})
    cluster.carry_out(cluster.plan())
    assert cluster.condition("Progressing")["reason"] == "RollingOut"
    cluster.settle()
    now = cluster.revisions()
    assert {name for name in now if now[name] == old[name]} == {"llama-0-0", "llama-1-0"}
    assert cluster.condition("Progressing")["reason"] == "Partitioned"
    cluster.fail("llama-1-0")
    cluster.settle()
    assert cluster.revisions() == now


def test_going_back_finds_the_old_revision_again() -> None:
    cluster = settled(replicas=2)
    seen = [cluster.status["updateRevision"]]
    for block in (32, 64):
        cluster.change(cache={"blockSize": block})
        cluster.settle()
        seen.append(cluster.status["updateRevision"])
    assert [entry["name"] for entry in cluster.status["revisions"]] == seen
    first, *others = seen
    cluster.change(cache={"blockSize": 16})
    cluster.settle()
    assert cluster.status["currentRevision"] == cluster.status["updateRevision"] == first
    assert set(cluster.revisions().values()) == {first}
    history = cluster.status["revisions"]
    assert [entry["name"] for entry in history] == [*others, first]
    assert [entry["generation"] for entry in history] == [2, 3, 4]
    assert sorted(entry["createdTime"] for entry in history) == [entry["createdTime"] for entry in history]
    files = cluster.objects["ConfigMap", "llama-config"]["data"]
    assert {names.revision_file(name) for name in seen} <= files.keys()


def test_going_back_half_way_leaves_alone_what_has_not_rolled() -> None:
    cluster = settled(replicas=2)
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()}
    cluster.change(cache={"blockSize": 32})
    cluster.carry_out(cluster.plan())
    (stays,) = cluster.serving()
    cluster.change(cache={"blockSize": 16})
    cluster.settle()
    after = {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()}
    assert {name for name in before if before[name] == after[name]} == {f"llama-{stays}-0"}


def test_gateways_stay_with_a_replica_that_is_held_back_and_falls() -> None:
    cluster = settled()
    (old,) = cluster.revisions().values()
    cluster.change(cache={"blockSize": 32}, rollout={"paused": True})
    cluster.settle()
    cluster.fail("llama-0-0")
    cluster.settle()
    assert gateway_revisions(cluster) == set(cluster.revisions().values()) == {old}


def test_what_is_held_back_comes_again_as_it_was_whatever_history_is_kept() -> None:
    cluster = settled(replicas=2)
    old = cluster.revisions()["llama-0-0"]
    cluster.change(cache={"blockSize": 32}, rollout={"partition": 1, "revisionHistoryLimit": 0})
    cluster.settle()
    cluster.evict("llama-0-0")
    cluster.settle()
    assert cluster.revisions()["llama-0-0"] == old != cluster.revisions()["llama-1-0"]


def test_a_revision_is_kept_as_long_as_a_pod_runs_it() -> None:
    cluster = settled(replicas=3, rollout={"revisionHistoryLimit": 0})
    between = roll_one(cluster)
    cluster.process(between).running = 9  # so it goes last
    cluster.change(cache={"blockSize": 64})
    for _ in range(4):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    revision = cluster.revisions()[between]
    assert names.revision_file(revision) in cluster.objects["ConfigMap", "llama-config"]["data"]
    assert revision in [entry["name"] for entry in cluster.status["revisions"]]


def test_a_held_revision_whose_file_is_lost_bars_no_way() -> None:
    cluster = settled()
    cluster.change(cache={"blockSize": 32}, rollout={"paused": True})
    cluster.settle()
    del cluster.objects["ConfigMap", "llama-config"]
    cluster.evict("llama-0-0")
    cluster.settle()
    assert cluster.serving() == {0}


def test_as_much_history_is_kept_as_asked_for() -> None:
    cluster = settled(rollout={"revisionHistoryLimit": 2})
    for block in (8, 32, 64, 128):
        cluster.change(cache={"blockSize": block})
        cluster.settle()
    kept = [entry["name"] for entry in cluster.status["revisions"]]
    assert len(kept) == 3
    files = cluster.objects["ConfigMap", "llama-config"]["data"]
    assert set(files) == {"live.json", *(names.revision_file(name) for name in kept)}


def break_rollout(cluster: Cluster) -> None:
    """A change whose first replica fails for good."""
    cluster.change(cache={"blockSize": 32}, recovery={"groupRestartLimit": 0})
    for _ in range(6):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
        for name, revision in cluster.revisions().items():
            if revision == cluster.status["updateRevision"]:
                cluster.fail(name, 3)
    cluster.settle()


def test_a_broken_revision_stops_and_the_others_serve_on() -> None:
    cluster = settled(replicas=3)
    break_rollout(cluster)
    assert len(cluster.serving()) == 2
    assert cluster.condition("Ready")["reason"] == "RestartLimitExceeded"
    assert gateway_revisions(cluster) == {cluster.status["currentRevision"]}, (
        "gateways stay with the replicas that work"
    )


@pytest.mark.parametrize("block", [16, 64], ids=["back", "on"])
def test_a_broken_revision_never_bars_the_way_out(block: int) -> None:
    cluster = settled(replicas=3)
    break_rollout(cluster)
    cluster.change(cache={"blockSize": block})
    cluster.write_status(cluster.plan())
    assert cluster.condition("Ready")["reason"] == "RollingOut", "what goes is no trouble any more"
    served = []
    for _ in range(60):
        cluster.carry_out(cluster.plan())
        served.append(len(cluster.serving()))
        cluster.live_on()
    assert min(served) >= 2
    assert cluster.condition("Ready")["status"] == "True"


def test_a_revision_of_which_everything_is_broken_does_not_either() -> None:
    cluster = settled(replicas=2, recovery={"groupRestartLimit": 0})
    cluster.fail("llama-0-0", 3)
    cluster.fail("llama-1-0", 3)
    cluster.settle()
    assert not cluster.serving()
    cluster.change(cache={"blockSize": 32})
    cluster.settle()
    assert cluster.serving() == {0, 1}


def test_a_rollout_without_progress_is_said_to_have_failed() -> None:
    cluster = settled(replicas=2, rollout={"progressDeadlineSeconds": 100})
    cluster.change(cache={"blockSize": 32})
    for _ in range(3):
        cluster.carry_out(cluster.plan())
        for name, pod in list(cluster.pods().items()):
            if "deletionTimestamp" in pod["metadata"]:
                cluster.progress(name)
    made = cluster.plan()
    assert made.requeue_after == pytest.approx(100, abs=2)
    cluster.now += 101
    cluster.carry_out(cluster.plan())
    assert cluster.condition("Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert cluster.condition("Degraded")["status"] == "True"
    cluster.settle()
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_every_replica_that_becomes_ready_is_progress() -> None:
    cluster = settled(replicas=2, rollout={"progressDeadlineSeconds": 100})
    cluster.change(cache={"blockSize": 32})
    cluster.write_status(cluster.plan())
    cluster.now += 90
    roll_one(cluster)
    cluster.now += 50
    cluster.write_status(cluster.plan())
    assert cluster.condition("Progressing")["reason"] == "RollingOut"
    cluster.now += 60
    cluster.write_status(cluster.plan())
    assert cluster.condition("Progressing")["reason"] == "ProgressDeadlineExceeded"


# -- live changes and upgrades -------------------------------------------------------------------------------------


def test_a_live_change_starts_no_pod_again() -> None:
    cluster = settled(replicas=2)
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.pods().items()}
    cluster.change(
        scheduler={"type": "FixedChunk", "fixedChunk": {"chunkSize": 512}},
        drain={"timeoutSeconds": 30},
        recovery={"stallTimeoutSeconds": 20},
    )
    cluster.carry_out(cluster.plan())
    assert cluster.condition("ConfigApplied")["status"] == "False"
    cluster.settle()
    assert {name: pod["metadata"]["uid"] for name, pod in cluster.pods().items()} == before
    assert {process.generation for process in cluster.processes.values()} == {cluster.generation}
    assert cluster.condition("ConfigApplied")["status"] == "True"


@pytest.mark.parametrize(
    ("scheduler", "prioritizer"),
    [("FixedChunk", "EDF"), ("DynamicChunk", "FCFS"), ("DynamicChunk", "LRS"), ("SpaceSharing", "LRS")],
)
def test_another_scheduler_and_prioritizer_are_one_live_change(scheduler: str, prioritizer: str) -> None:
    cluster = settled(replicas=2)
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.pods().items()}
    cluster.change(scheduler={"type": scheduler}, prioritizer={"type": prioritizer})
    made = cluster.plan()
    first, *others = [action for action in made.actions if isinstance(action, Apply | UpdateConfig)]
    assert isinstance(first, Apply), "a process that starts from now on reads it"
    live = json.loads(first.manifest["data"][names.LIVE_FILE])
    assert (live["generation"], live["spec"]["scheduler"]["type"]) == (cluster.generation, scheduler)
    assert {action.pod for action in others if isinstance(action, UpdateConfig)} == before.keys(), "gateways too"
    cluster.carry_out(made)
    assert cluster.condition("ConfigApplied")["status"] == "False", "until they say so"
    cluster.settle()
    assert {name: pod["metadata"]["uid"] for name, pod in cluster.pods().items()} == before
    assert cluster.condition("ConfigApplied")["status"] == "True"
    for process in cluster.processes.values():
        assert process.told is not None
        assert (process.told["scheduler"]["type"], process.told["prioritizer"]["type"]) == (scheduler, prioritizer)


def test_another_profile_rolls_and_the_scheduler_goes_live_at_once() -> None:
    cluster = settled(replicas=2)
    old = cluster.revisions()
    profile = {"type": "ConfigMap", "configMap": {"name": "times"}}
    cluster.change(scheduler={"type": "DynamicChunk", "profile": profile}, rollout={"paused": True})
    cluster.settle()
    assert cluster.revisions() == old
    assert cluster.status["pendingChange"]["fields"][0] == "spec.scheduler.profile.type"
    assert cluster.condition("ConfigApplied")["status"] == "True"
    for process in cluster.processes.values():
        assert process.told is not None
        assert (process.told["scheduler"]["type"], process.told["scheduler"]["profile"]) == (
            "DynamicChunk",
            {"type": "Auto"},
        ), "the new scheduler, with the profile that it was started with"
    cluster.change(rollout={"paused": False})
    cluster.settle()
    assert set(cluster.revisions().values()).isdisjoint(old.values())
    assert cluster.condition("Ready")["status"] == "True"


def test_a_live_change_is_not_for_what_goes() -> None:
    cluster = settled(replicas=3)
    cluster.evict("llama-1-0")
    cluster.process("llama-2-0").phase = "Failed"
    cluster.change(drain={"timeoutSeconds": 30})
    made = cluster.plan()
    told = {action.pod for action in made.actions if isinstance(action, UpdateConfig)}
    assert told & cluster.replica_pods().keys() == {"llama-0-0"}
    cluster.carry_out(made)
    cluster.carry_out(cluster.plan())
    assert "llama-1-0" in cluster.replica_pods()
    assert cluster.condition("ConfigApplied")["status"] == "True"


def test_a_live_change_during_a_rollout_reaches_both_revisions() -> None:
    cluster = settled(replicas=2)
    cluster.change(cache={"blockSize": 32}, rollout={"partition": 1})
    cluster.settle()
    cluster.change(scheduler={"type": "FixedChunk", "fixedChunk": {"chunkSize": 512}})
    cluster.settle()
    assert len(set(cluster.revisions().values())) == 2
    assert cluster.condition("ConfigApplied")["status"] == "True"


def test_a_new_operator_changes_no_pod() -> None:
    cluster = settled(replicas=2)
    before = dict(cluster.objects)
    cluster.settings = type(cluster.settings)(replica_image="registry.example/vajra:2")
    assert cluster.plan().actions == ()
    cluster.change(replicas=3)
    cluster.settle()
    images = {pod["spec"]["containers"][0]["image"] for pod in cluster.pods().values()}
    assert images == {"registry.example/vajra:1"}, "a revision keeps the image that it began with"
    deployment = ("Deployment", "llama-gateway")
    assert cluster.objects[deployment]["spec"]["template"] == before[deployment]["spec"]["template"]
    cluster.change(cache={"blockSize": 32})
    cluster.settle()
    images = {pod["spec"]["containers"][0]["image"] for pod in cluster.pods().values()}
    assert images == {"registry.example/vajra:2"}


def test_an_operator_that_lays_gateways_out_otherwise_leaves_them_alone() -> None:
    cluster = settled()
    deployment = cluster.objects["Deployment", "llama-gateway"]
    deployment["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "OF_AN_OLDER_TIME", "value": "1"})
    deployment["metadata"]["annotations"]["vajra.ai/layout"] = "older"
    assert cluster.plan().actions == ()
    deployment["metadata"]["annotations"]["vajra.ai/layout"] = "older"
    cluster.change(cache={"blockSize": 32})
    cluster.settle()
    containers = cluster.objects["Deployment", "llama-gateway"]["spec"]["template"]["spec"]["containers"]
    assert "OF_AN_OLDER_TIME" not in [each["name"] for each in containers[0]["env"]]


def test_a_gateway_deployment_that_someone_has_edited_is_put_right() -> None:
    cluster = settled()
    deployment = cluster.objects["Deployment", "llama-gateway"]
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/other:1"
    cluster.settle()
    containers = cluster.objects["Deployment", "llama-gateway"]["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "registry.example/vajra:1"


def test_a_pod_of_an_earlier_deployment_is_in_the_way_until_it_is_gone() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    pod = cluster.objects["Pod", "llama-0-0"]
    pod["metadata"]["ownerReferences"][0]["uid"] = "cr-0"
    made = cluster.plan()
    assert [action.manifest["metadata"]["name"] for action in made.actions if isinstance(action, Create)] == [
        "llama-1-0"
    ]
    assert not [action for action in made.actions if isinstance(action, Delete)]


def test_a_replica_that_comes_again_waits_for_its_name() -> None:
    cluster = settled()
    other = copy.deepcopy(cluster.objects["Pod", "llama-0-0"])
    other["metadata"]["ownerReferences"][0]["uid"] = "cr-0"
    cluster.fail("llama-0-0", 3)
    cluster.carry_out(cluster.plan())
    cluster.objects["Pod", "llama-0-0"] = other
    assert not [action for action in cluster.plan().actions if isinstance(action, Create)]
    del cluster.objects["Pod", "llama-0-0"]
    cluster.settle()
    assert cluster.serving() == {0}


def test_the_disruption_budget_lets_one_replica_go() -> None:
    cluster = Cluster(parallel_spec(replicas=3))
    cluster.settle()
    budget = cluster.objects["PodDisruptionBudget", "llama"]["spec"]
    assert budget["minAvailable"] == 4, "of six pods in three replicas"
    cluster.change(recovery={"groupRestartLimit": 0})
    cluster.fail("llama-0-0", 3)
    cluster.settle()
    assert cluster.objects["PodDisruptionBudget", "llama"]["spec"]["minAvailable"] == 2, "one stays down"
    cluster.change(replicas=1)
    cluster.settle()
    assert cluster.objects["PodDisruptionBudget", "llama"]["spec"]["minAvailable"] == 0

"""Status says what is, with one reason of a closed list, and changes only when something has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.operator.planning.cluster import Cluster, Object, minimal_spec, parallel_spec

from vajra.operator.model import Apply, Stage
from vajra.operator.planning import names
from vajra.operator.reasons import Fault, Reason


def started(**fields: Any) -> Cluster:
    """A cluster whose pods are running and whose replicas have not served yet."""
    cluster = Cluster(minimal_spec(**fields))
    for _ in range(2):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    return cluster


def ready_of(cluster: Cluster) -> Object:
    """The condition Ready by the next plan."""
    conditions = cluster.plan().status["conditions"]
    return next(dict(each) for each in conditions if each["type"] == "Ready")


def waiting(reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2027-01-15T08:00:00Z"}],
        "containerStatuses": [{"name": "worker", "image": "registry.example/vajra:1", "state": state}],
    }


def unscheduled(message: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition | {"lastTransitionTime": "2027-01-15T08:00:00Z"}]}


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (unscheduled("0/2 nodes are available: 2 Insufficient cpu."), Reason.UNSCHEDULABLE, "Insufficient cpu"),
        (unscheduled("2 Insufficient nvidia.com/gpu."), Reason.INSUFFICIENT_GPUS, "nvidia.com/gpu"),
        (waiting("ImagePullBackOff", "no such image"), Reason.IMAGE_PULL_FAILED, "registry.example/vajra:1"),
        (waiting("CreateContainerConfigError", 'secret "hub" not found'), Reason.CONTAINER_CONFIG_FAILED, "hub"),
        (waiting("ContainerCreating", ""), Reason.CONTAINER_CREATING, "image and volumes"),
    ],
)
def test_what_keeps_a_pod_from_running(status: Object, reason: Reason, words: str) -> None:
    cluster = started()
    pod = cluster.pods()["llama-0-0"]
    cluster.processes.pop(pod["metadata"]["uid"])
    pod["status"] = status
    ready = ready_of(cluster)
    assert ready["reason"] == reason
    assert "llama-0-0" in ready["message"]
    assert words in ready["message"]


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ((), Reason.STARTING),
        ((Stage("WeightDownload", 9.0, 0.43),), Reason.DOWNLOADING_WEIGHTS),
        ((Stage("WeightDownload", 9.0), Stage("WeightLoad", 1.0, 0.5)), Reason.LOADING_WEIGHTS),
        ((Stage("WeightLoad", 1.0), Stage("CollectiveInit", 1.0, 0.5)), Reason.INITIALIZING_COLLECTIVES),
        ((Stage("WeightLoad", 1.0), Stage("Profile", 9.0, 0.43)), Reason.MEASURING_PROFILE),
        ((Stage("WeightLoad", 1.0), Stage("Warmup", 1.0, 0.5)), Reason.WARMING_UP),
    ],
)
def test_where_a_process_is_in_its_start(stages: tuple[Stage, ...], reason: Reason) -> None:
    cluster = started()
    cluster.process("llama-0-0").stages = stages
    ready = ready_of(cluster)
    assert ready["reason"] == reason
    if reason in (Reason.DOWNLOADING_WEIGHTS, Reason.MEASURING_PROFILE):
        assert "43%" in ready["message"]


@pytest.mark.parametrize("said", ["", "times"])
def test_a_config_map_that_a_node_may_be_waiting_for_is_told(said: str) -> None:
    profile = {"type": "ConfigMap", "configMap": {"name": "times"}} if said else {"type": "Auto"}
    cluster = started(scheduler={"type": "DynamicChunk", "profile": profile})
    pod = cluster.pods()["llama-0-0"]
    cluster.processes.pop(pod["metadata"]["uid"])
    pod["status"] = waiting("ContainerCreating", "")
    message = ready_of(cluster)["message"]
    assert message.endswith("needs the ConfigMap times with the key profile.json" if said else "image and volumes")


def test_a_secret_that_a_node_may_be_waiting_for_is_told() -> None:
    cluster = started(networking={"apiKeysSecretRef": {"name": "keys", "key": "k"}})
    cluster.progress("llama-0-0")
    for pod in cluster.pods(names.GATEWAY).values():
        cluster.processes.pop(pod["metadata"]["uid"], None)
        pod["status"] = waiting("ContainerCreating", "")
    ready = ready_of(cluster)
    assert ready["reason"] == Reason.GATEWAY_NOT_READY
    assert ready["message"].endswith("needs the Secret keys with the key k")


@pytest.mark.parametrize(("spec", "name"), [({"replicas": 2}, "llama-1-0"), (parallel_spec(), "llama-0-1")])
def test_the_first_trouble_is_told_before_what_only_takes_its_time(spec: Object, name: str) -> None:
    cluster = started(**spec)
    pod = cluster.pods()[name]
    cluster.processes.pop(pod["metadata"]["uid"])
    pod["status"] = waiting("ErrImagePull", "unauthorized")
    assert ready_of(cluster)["reason"] == Reason.IMAGE_PULL_FAILED


@pytest.mark.parametrize(("code", "reason"), [(1, Reason.CRASH_LOOP), (2, Reason.CONFIG_REFUSED)])
def test_a_gateway_that_crashes_is_told(code: int, reason: Reason) -> None:
    cluster = started()
    cluster.progress("llama-0-0")
    for pod in cluster.pods(names.GATEWAY).values():
        cluster.processes.pop(pod["metadata"]["uid"], None)
        last = {"terminated": {"exitCode": code, "message": "port 8471 is in use"}}
        state = {"waiting": {"reason": "CrashLoopBackOff"}}
        pod["status"]["containerStatuses"] = [{"name": "gateway", "state": state, "lastState": last}]
    ready = ready_of(cluster)
    assert ready["reason"] == reason
    assert "port 8471 is in use" in ready["message"]


@pytest.mark.parametrize(("restarts", "reason"), [(0, Reason.LOADING_WEIGHTS), (1, Reason.RESTARTING_WORKERS)])
def test_workers_that_start_again_are_told_where_they_did(restarts: int, reason: Reason) -> None:
    """The operator may have asked before the startup probe passed, and sees the pod after it."""
    cluster = started()
    pod = cluster.pods()["llama-0-0"]
    pod["status"]["containerStatuses"][0]["started"] = True
    process = cluster.process("llama-0-0")
    process.stages, process.worker_restarts = (Stage("WeightLoad", 1.0, 0.5),), restarts
    assert ready_of(cluster)["reason"] == reason


def test_what_serves_is_described() -> None:
    cluster = Cluster(parallel_spec(replicas=2, networking={"grpcPort": 9000, "openAIPort": 8000}))
    cluster.settle()
    status = cluster.status
    assert status["endpoint"] == {"grpc": "llama.default.svc:9000", "openAI": "http://llama.default.svc:8000/v1"}
    assert status["resolved"] == {
        "controller": "PipelineParallel",
        "worldSize": 4,
        "podsPerReplica": 2,
        "gpusPerPod": 2,
        "configMapName": "llama-config",
    }
    assert (status["replicas"], status["readySummary"], status["gpus"]) == (2, "2/2", 8)
    assert (status["accelerator"], status["selector"]) == ("GPU", "vajra.ai/deployment=llama,vajra.ai/role=leader")
    assert status["capacity"] == {"kvBlocks": 1000, "kvTokens": 16000, "maxConcurrentSequences": 128}
    startup = {each["name"]: each["seconds"] for each in status["startup"]["stages"]}
    assert list(startup) == ["Scheduling", "ImagePull", "WeightDownload", "WeightLoad", "Warmup"]
    assert startup["WeightDownload"] == 4.0
    assert status["startup"]["totalSeconds"] == pytest.approx(sum(startup.values()))
    assert "on GPU" in cluster.condition("Ready")["message"]


def test_what_pods_say_that_a_user_should_know_is_told_once_and_kept() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    for process in cluster.processes.values():
        process.notices = ("float16 is kept and float32 computed", "the model allows no more than 2048 tokens")
    cluster.settle()
    assert cluster.status["notices"] == [
        "float16 is kept and float32 computed",
        "the model allows no more than 2048 tokens",
    ]
    cluster.silent = True
    assert cluster.plan().status == cluster.status
    cluster.silent = False
    for process in cluster.processes.values():
        process.notices = ()
    cluster.settle()
    assert "notices" not in cluster.status


def test_the_start_that_is_shown_is_the_latest() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    cluster.change(replicas=2)
    cluster.settle()
    cluster.process("llama-1-0").stages = (Stage("WeightLoad", 77.0),)
    assert {"name": "WeightLoad", "seconds": 77.0} in cluster.plan().status["startup"]["stages"]


def test_cpu_mode_is_shown() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    assert (cluster.status["accelerator"], cluster.status["gpus"]) == ("CPU", 0)
    assert "on CPU" in cluster.condition("Ready")["message"]


def test_times_change_with_the_status_of_a_condition_alone() -> None:
    cluster = started()
    began = {each["type"]: each for each in cluster.status["conditions"]}
    cluster.now += 100
    cluster.settle()
    for each in cluster.status["conditions"]:
        before = began[each["type"]]
        same_time = each["lastTransitionTime"] == before["lastTransitionTime"]
        assert same_time == (each["status"] == before["status"])


def test_a_resync_writes_nothing() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    for _ in range(3):
        cluster.now += 3600
        made = cluster.plan()
        assert made.actions == ()
        assert made.status == cluster.status


def test_an_operator_that_has_just_started_does_not_doubt_what_serves() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    cluster.silent = True
    made = cluster.plan()
    assert made.actions == ()
    assert made.status == cluster.status


def test_a_pod_that_never_answers_is_not_taken_for_ready() -> None:
    cluster = Cluster(minimal_spec())
    cluster.silent = True
    cluster.settle()
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Ready")["reason"] == Reason.NOT_ANSWERING
    assert cluster.condition("ConfigApplied")["reason"] == Reason.NOT_ANSWERING


def test_a_pod_that_falls_silent_has_not_taken_over_what_came_later() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    cluster.silent = True
    cluster.change(drain={"timeoutSeconds": 30})
    cluster.settle()
    assert cluster.condition("Ready")["reason"] == Reason.NOT_ANSWERING
    assert cluster.condition("ConfigApplied")["reason"] == Reason.NOT_ANSWERING


def test_a_pod_that_may_not_have_been_asked_yet_is_not_said_to_be_silent() -> None:
    cluster = Cluster(minimal_spec())
    cluster.silent = True
    for _ in range(6):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    made = cluster.plan()
    cluster.write_status(made)
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Ready")["reason"] == Reason.STARTING
    assert cluster.condition("ConfigApplied")["reason"] == Reason.CONFIG_PENDING
    cluster.now += made.requeue_after or 0.0
    assert ready_of(cluster)["reason"] == Reason.NOT_ANSWERING


def test_a_gateway_that_no_replica_has_proven_restarts_nothing() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    for name, pod in cluster.pods(names.GATEWAY).items():
        pod["status"]["conditions"] = []
        cluster.process(name).phase = "Starting"
    cluster.write_status(cluster.plan())
    assert cluster.condition("Ready")["reason"] == Reason.GATEWAY_NOT_READY
    assert cluster.condition("Available")["reason"] == Reason.GATEWAY_NOT_READY


def test_ready_waits_for_gateways_of_another_revision_to_leave() -> None:
    cluster = Cluster(minimal_spec())
    cluster.settle()
    pod = next(iter(cluster.pods(names.GATEWAY).values()))
    pod["metadata"]["labels"] = pod["metadata"]["labels"] | {names.REVISION: "v1-other"}
    assert ready_of(cluster)["reason"] == Reason.GATEWAY_NOT_READY
    pod["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert ready_of(cluster)["reason"] == Reason.SERVING


def test_a_users_container_says_nothing_of_ours() -> None:
    cluster = started()
    before = cluster.plan()
    statuses = cluster.pods()["llama-0-0"]["status"]["containerStatuses"]
    statuses.append({"name": "logs", "state": {"running": {}}, "started": True, "ready": True})
    assert cluster.plan() == before


def test_ready_waits_for_every_pod_to_take_the_live_settings_over() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    cluster.change(drain={"timeoutSeconds": 30})
    made = cluster.plan()
    cluster.write_status(made)
    for action in made.actions:
        if isinstance(action, Apply):
            cluster.do(action)
    assert ready_of(cluster)["reason"] == Reason.CONFIG_PENDING
    cluster.settle()
    assert cluster.condition("Ready")["status"] == "True"


def _nothing(cluster: Cluster) -> None:
    cluster.now += 100


def _scale(cluster: Cluster) -> None:
    cluster.change(replicas=3)


def _fault(cluster: Cluster) -> None:
    cluster.fail("llama-0-0", 3)


@pytest.mark.parametrize(("event", "told"), [(_nothing, set()), (_scale, {"Serving"}), (_fault, {"ReplicaFailed"})])
def test_events_tell_of_changes_alone(event: Callable[[Cluster], None], told: set[str]) -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    cluster.events.clear()
    event(cluster)
    cluster.settle()
    reasons = [each.reason for each in cluster.events]
    assert told <= set(reasons)
    assert bool(reasons) == bool(told)
    assert all(reason in {*Reason, *Fault} for reason in reasons)
    assert all(each.warning == (each.reason in {*Fault, Reason.CRASH_LOOP}) for each in cluster.events)


def test_objects_that_someone_deletes_come_back_and_pods_stay() -> None:
    cluster = Cluster(minimal_spec(replicas=2))
    cluster.settle()
    keys = [key for key in cluster.objects if key[0] != "Pod"]
    pods = {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()}
    for key in keys:
        del cluster.objects[key]
    cluster.settle()
    assert set(keys) <= set(cluster.objects)
    assert {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()} == pods

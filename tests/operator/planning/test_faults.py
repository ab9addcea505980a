"""The ladder of faults: counted once, waited for, and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.operator.planning.cluster import Cluster, minimal_spec, parallel_spec

from vajra.operator.model import Create, Delete
from vajra.operator.planning import clock

RECOVERY = {"groupRestartLimit": 3, "backoffBaseSeconds": 10, "backoffMaxSeconds": 60}


def settled(**fields: Any) -> Cluster:
    cluster = Cluster(minimal_spec(**{"recovery": RECOVERY, **fields}))
    cluster.settle()
    return cluster


def fall(cluster: Cluster, code: int = 3) -> float:
    """Replica 0 fails and is created again; how long that took, without the time that it needs to start."""
    began = cluster.now
    cluster.fail("llama-0-0", code, "the worker was killed")
    for _ in range(100):
        made = cluster.plan()
        cluster.carry_out(made)
        if any(isinstance(action, Create) for action in made.actions):
            return cluster.now - began
        cluster.now += 1.0
    raise AssertionError("it did not come back")


def start(cluster: Cluster) -> None:
    for _ in range(3):
        cluster.carry_out(cluster.plan())
        cluster.live_on(0.1)


def test_waits_double_and_then_it_stays_down() -> None:
    cluster = settled()
    waits = []
    for _ in range(3):
        waits.append(fall(cluster))
        start(cluster)
    assert waits == pytest.approx([0, 10, 20], abs=1.5)
    cluster.fail("llama-0-0", 3, "the worker was killed")
    cluster.settle()
    assert "llama-0-0" in cluster.replica_pods(), "it stays as it fell, for its log to be read"
    assert cluster.condition("Ready")["reason"] == "RestartLimitExceeded"
    assert cluster.condition("Degraded")["reason"] == "RestartLimitExceeded"
    assert cluster.condition("Available")["reason"] == "MinimumReplicasUnavailable"
    assert "the worker was killed" in cluster.condition("Degraded")["message"]
    assert cluster.status["recovery"]["groupRestarts"] == 3
    assert cluster.status["recovery"]["lastFault"]["action"] == "Stopped"
    assert cluster.status["recovery"]["lastFault"]["reason"] == "ReplicaFailed"


def test_no_wait_is_longer_than_the_longest() -> None:
    cluster = settled(recovery=RECOVERY | {"groupRestartLimit": 5, "backoffMaxSeconds": 15})
    waits = []
    for _ in range(5):
        waits.append(fall(cluster))
        start(cluster)
    assert waits == pytest.approx([0, 10, 15, 15, 15], abs=1.5)


def give_up(cluster: Cluster) -> None:
    for _ in range(RECOVERY["groupRestartLimit"]):
        fall(cluster)
        start(cluster)
    cluster.fail("llama-0-0", 3)
    cluster.settle()
    assert not cluster.serving()


def test_a_change_of_the_spec_is_a_way_out() -> None:
    cluster = settled()
    give_up(cluster)
    cluster.change(cache={"blockSize": 32})
    cluster.settle()
    assert cluster.serving() == {0}
    assert "groups" not in cluster.status["recovery"], "the new revision begins with a clean record"


def test_a_higher_limit_is_a_way_out() -> None:
    cluster = settled()
    give_up(cluster)
    cluster.change(recovery=RECOVERY | {"groupRestartLimit": 10})
    cluster.settle()
    assert cluster.serving() == {0}


def test_what_stays_down_is_told_before_what_comes_again() -> None:
    cluster = settled(replicas=2, recovery=RECOVERY | {"groupRestartLimit": 1})
    cluster.fail("llama-1-0", 3)
    start(cluster)
    start(cluster)
    cluster.fail("llama-1-0", 3)
    cluster.settle()
    cluster.fail("llama-0-0", 3)
    cluster.write_status(cluster.plan())
    assert cluster.condition("Ready")["reason"] == "RestartLimitExceeded"


def test_scaling_down_takes_what_stays_down_before_what_starts() -> None:
    cluster = settled()
    give_up(cluster)
    cluster.change(replicas=2)
    cluster.carry_out(cluster.plan())
    cluster.change(replicas=1)
    assert [action.name for action in cluster.plan().actions if isinstance(action, Delete)] == ["llama-0-0"]


def test_deleting_the_pod_is_a_way_out_once() -> None:
    cluster = settled()
    give_up(cluster)
    cluster.evict("llama-0-0")
    for _ in range(4):
        made = cluster.plan()
        cluster.carry_out(made)
        cluster.live_on(60)
    assert cluster.serving() == {0}
    cluster.fail("llama-0-0", 3)
    cluster.settle()
    assert not cluster.serving()


def test_a_replica_that_serves_long_enough_has_a_clean_record() -> None:
    cluster = settled()
    fall(cluster)
    start(cluster)
    assert cluster.status["recovery"]["groups"][0]["restarts"] == 1
    cluster.settle()
    assert "groups" not in cluster.status["recovery"]
    assert cluster.status["recovery"]["groupRestarts"] == 1, "the sum remains"


def test_the_last_words_of_a_replica_that_failed_are_not_counted_again() -> None:
    cluster = settled()
    uid = cluster.pods()["llama-0-0"]["metadata"]["uid"]
    process = cluster.processes[uid]
    process.worker_restarts = 1
    cluster.settle()
    cluster.fail("llama-0-0", 3)
    cluster.processes[uid] = process  # what it said last is known for a while
    for _ in range(2):
        cluster.write_status(cluster.plan())
    recovery = cluster.status["recovery"]
    assert (recovery["workerRestarts"], recovery["groupRestarts"]) == (1, 1)
    assert recovery["lastFault"]["reason"] == "ReplicaFailed"


def test_a_clean_record_takes_all_pods_of_a_replica_that_long() -> None:
    cluster = Cluster(parallel_spec(recovery=RECOVERY))
    cluster.settle()
    cluster.fail("llama-0-1", 3)
    for _ in range(6):
        cluster.carry_out(cluster.plan())
        cluster.live_on(0.1)
    assert cluster.serving() == {0}
    cluster.now += 30
    for each in cluster.pods()["llama-0-1"]["status"]["conditions"]:
        each["lastTransitionTime"] = clock.rfc3339(cluster.now - RECOVERY["backoffMaxSeconds"])
    assert cluster.plan().status["recovery"]["groups"][0]["restarts"] == 1


def wait(cluster: Cluster, *replicas: int) -> None:
    """Replicas fail twice and wait to be created again."""
    for _ in range(2):
        for replica in replicas:
            cluster.fail(f"llama-{replica}-0", 3)
        start(cluster)
        start(cluster)
    assert not {f"llama-{replica}-0" for replica in replicas} & cluster.replica_pods().keys()


def created(cluster: Cluster) -> list[str]:
    """The pods that the next plan creates."""
    return [action.manifest["metadata"]["name"] for action in cluster.plan().actions if isinstance(action, Create)]


def test_of_replicas_that_only_wait_the_last_goes_first() -> None:
    cluster = settled(replicas=2)
    wait(cluster, 0, 1)
    cluster.change(replicas=1)
    assert [each["replica"] for each in cluster.plan().status["recovery"]["groups"]] == [0]


def test_others_are_not_touched_while_one_waits() -> None:
    cluster = settled(replicas=3)
    wait(cluster, 1)
    assert cluster.serving() == {0, 2}
    assert created(cluster) == []
    assert cluster.condition("Degraded")["reason"] == cluster.condition("Ready")["reason"] == "CrashLoop"
    cluster.change(replicas=4)
    assert created(cluster) == ["llama-3-0"], "its index is kept for it"


def test_another_revision_does_not_wait() -> None:
    cluster = settled()
    wait(cluster, 0)
    cluster.change(cache={"blockSize": 32})
    assert created(cluster) == ["llama-0-0"]


def test_what_has_waited_comes_before_what_replaces_another() -> None:
    cluster = settled(replicas=2)
    wait(cluster, 1)
    cluster.evict("llama-0-0")  # and goes on with its requests
    cluster.now += 10
    assert created(cluster) == ["llama-1-0"]


def test_what_has_waited_waits_for_room() -> None:
    cluster = settled(replicas=3)
    wait(cluster, 0, 1)
    cluster.evict("llama-2-0")  # and goes on with its requests
    cluster.change(replicas=2)
    cluster.now += 10
    assert created(cluster) == ["llama-0-0"]


def test_a_new_revision_that_fails_waits_and_no_other_replica_tries_it_meanwhile() -> None:
    cluster = settled(replicas=2)
    cluster.change(cache={"blockSize": 32})
    tries = 0
    for _ in range(50):
        made = cluster.plan()
        cluster.carry_out(made)
        tries += sum(isinstance(action, Create) for action in made.actions)
        cluster.live_on(0.1)
        for name, revision in cluster.revisions().items():
            if revision == made.status["updateRevision"]:
                cluster.fail(name, 3)
    assert tries == 2, "once, and once more at once"


def test_what_has_failed_is_not_said_to_finish_its_requests_or_to_be_well() -> None:
    cluster = Cluster(parallel_spec(recovery=RECOVERY))
    cluster.settle()
    told = len(cluster.events)
    cluster.fail("llama-0-0", 3)
    for _ in range(3):  # the other pod takes its time to end
        cluster.carry_out(cluster.plan())
    assert [name for name, pod in cluster.replica_pods().items() if "deletionTimestamp" in pod["metadata"]]
    assert {event.reason for event in cluster.events[told:]} == {"CrashLoop", "ReplicaFailed", "Scaling"}
    assert cluster.condition("Degraded")["status"] == "True"


def test_a_group_is_recreated_whole() -> None:
    cluster = Cluster(parallel_spec(replicas=2, recovery=RECOVERY))
    cluster.settle()
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()}
    cluster.fail("llama-0-1")
    cluster.settle()
    after = {name: pod["metadata"]["uid"] for name, pod in cluster.replica_pods().items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"llama-0-0", "llama-0-1"}
    assert cluster.status["recovery"]["groupRestarts"] == 1, "one fault, though it took two pods"


def test_a_refusal_says_more_than_the_ends_that_follow_from_it() -> None:
    cluster = Cluster(parallel_spec())
    cluster.settle()
    cluster.fail("llama-0-1", 1, "the leader is gone")
    cluster.now += 5
    cluster.fail("llama-0-0", 2, "no such option")
    fault = cluster.plan().status["recovery"]["lastFault"]
    assert (fault["reason"], fault["message"]) == ("ConfigRefused", "no such option")


def test_a_configuration_that_is_refused_is_no_crash_loop() -> None:
    cluster = Cluster(minimal_spec(recovery=RECOVERY))
    why = "key profile.json of ConfigMap times is not a profile"
    reasons = set()
    for _ in range(20):
        for process in cluster.processes.values():
            if process.stages:  # not a gateway's
                process.phase, process.config_refused, process.message = "Failed", True, why
        cluster.carry_out(cluster.plan())
        ready = cluster.condition("Ready")
        if why in ready["message"]:
            reasons.add((ready["reason"], ready["message"].rpartition("(")[2]))
        cluster.live_on()
    assert reasons == {
        ("ConfigRefused", "it is asked once more)"),
        ("ConfigRefused", "change the spec, or delete the pod to try again)"),
    }
    fault = cluster.status["recovery"]["lastFault"]
    assert (fault["reason"], fault["action"], fault["message"]) == ("ConfigRefused", "Stopped", why)
    assert {event.reason for event in cluster.events}.isdisjoint({"CrashLoop", "ReplicaFailed"})
    cluster.fail("llama-0-0", 2, why)
    assert cluster.plan().status == cluster.status, "that its process has ended then is no news"


def test_workers_restarted_in_place_are_counted() -> None:
    cluster = settled(replicas=2)
    process = cluster.process("llama-1-0")
    process.worker_restarts, process.message = 2, "worker 0 was killed by SIGKILL"
    cluster.settle()
    recovery = cluster.status["recovery"]
    assert recovery["workerRestarts"] == 2
    assert recovery["lastFault"]["replica"] == 1
    assert recovery["lastFault"]["action"] == "RestartedWorkers"
    assert recovery["lastFault"]["message"] == "worker 0 was killed by SIGKILL"
    assert [event.reason for event in cluster.events].count("WorkerFailed") == 1


def _fail(cluster: Cluster) -> None:
    cluster.fail("llama-0-0", 3)


def _evict(cluster: Cluster) -> None:
    cluster.evict("llama-0-0")
    cluster.progress("llama-0-0")  # it ends


@pytest.mark.parametrize(("end", "before"), [(_fail, 1), (_evict, 2)])
def test_a_new_process_counts_its_workers_restarts_anew(end: Callable[[Cluster], None], before: int) -> None:
    cluster = settled()
    fall(cluster)
    start(cluster)
    cluster.process("llama-0-0").worker_restarts = before
    cluster.carry_out(cluster.plan())
    end(cluster)
    for _ in range(15):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
        for process in cluster.processes.values():
            process.worker_restarts = 1  # before it was asked
    assert cluster.serving() == {0}
    assert cluster.status["recovery"]["workerRestarts"] == before + 1


def test_a_lost_node_is_no_fault_of_the_replicas() -> None:
    cluster = settled(replicas=2)
    node = cluster.replica_pods()["llama-0-0"]["spec"]["nodeName"]
    cluster.lose_node(node)
    made = cluster.plan()
    forced = [action for action in made.actions if isinstance(action, Delete)]
    assert forced, "a node that is gone cannot end its pods"
    assert all(action.grace_seconds == 0 for action in forced)
    assert made.status["recovery"]["lastFault"]["reason"] == "NodeLost"
    assert made.status["recovery"]["lastFault"]["nodeName"] == node
    cluster.write_status(made)
    assert cluster.plan().status["recovery"] == made.status["recovery"], "it counts once"
    cluster.carry_out(made)
    cluster.nodes_down.clear()
    cluster.settle()
    assert cluster.serving() == {0, 1}
    assert "groups" not in cluster.status["recovery"], "its budget is untouched"


@pytest.mark.parametrize("lost", ["llama-0-0", "llama-0-1"])
def test_a_lost_node_counts_once_whatever_pods_end_first(lost: str) -> None:
    cluster = Cluster(parallel_spec())
    cluster.settle()
    cluster.lose_node(cluster.replica_pods()[lost]["spec"]["nodeName"])
    for _ in range(3):
        cluster.carry_out(cluster.plan())
        cluster.live_on()
    cluster.nodes_down.clear()
    cluster.settle()
    assert cluster.serving() == {0}
    assert cluster.status["recovery"]["groupRestarts"] == 1


def test_a_node_that_is_not_given_up_keeps_its_pods() -> None:
    cluster = settled()
    node = cluster.replica_pods()["llama-0-0"]["spec"]["nodeName"]
    cluster.nodes_down.add(node)
    made = cluster.plan()
    assert not [action for action in made.actions if isinstance(action, Create | Delete)]
    ready = next(each for each in made.status["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == "NodeLost"
    assert node in ready["message"]
    assert made.status["recovery"]["groupRestarts"] == 0


def test_a_pod_that_its_node_throws_out_counts() -> None:
    cluster = settled()
    pod = cluster.replica_pods()["llama-0-0"]
    cluster.processes.clear()
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}
    cluster.settle()
    fault = cluster.status["recovery"]["lastFault"]
    assert fault["reason"] == "PodRejected"
    assert fault["message"] == "Evicted: the node was low on memory"
    assert cluster.serving() == {0}


def test_what_the_worker_says_goes_before_what_a_users_container_says() -> None:
    cluster = settled()
    cluster.fail("llama-0-0", 3, "the worker was killed")
    ended = {"exitCode": 1, "message": "boom", "finishedAt": clock.rfc3339(cluster.now - 60)}
    statuses = cluster.pods()["llama-0-0"]["status"]["containerStatuses"]
    statuses.append({"name": "logs", "state": {"terminated": ended}})
    fault = cluster.plan().status["recovery"]["lastFault"]
    assert (fault["reason"], fault["message"]) == ("ReplicaFailed", "the worker was killed")


def test_one_that_gives_up_is_replaced_before_its_process_has_ended() -> None:
    cluster = settled(replicas=2)
    process = cluster.process("llama-0-0")
    process.phase, process.message = "Failed", "worker 0 ended three times"
    made = cluster.plan()
    assert [action.name for action in made.actions if isinstance(action, Delete)] == ["llama-0-0"]
    assert made.status["recovery"]["lastFault"]["message"] == "worker 0 ended three times"


def test_someone_elses_deletion_is_no_fault() -> None:
    cluster = settled()
    cluster.evict("llama-0-0")
    cluster.settle()
    assert cluster.serving() == {0}
    assert cluster.status["recovery"]["groupRestarts"] == 0

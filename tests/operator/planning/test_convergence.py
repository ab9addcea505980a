"""Whatever happens, and wherever an operator dies: the same objects in the end, and the promises kept on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.operator.planning.cluster import Cluster, minimal_spec, parallel_spec

from vajra.operator.model import Create, Delete, Drain, Event, Plan
from vajra.operator.planning import names

_OF_THE_MOMENT = ("uid", "creationTimestamp", "deletionTimestamp")


def lasting(cluster: Cluster) -> dict[tuple[str, str], Any]:
    """The objects without what differs from one time to the next; gateway pods have names of their cluster's choice."""
    kept = {}
    for (kind, name), item in cluster.objects.items():
        if kind != "Pod" or names.REPLICA in item["metadata"]["labels"]:
            metadata = {key: value for key, value in item["metadata"].items() if key not in _OF_THE_MOMENT}
            spec = {key: value for key, value in item.get("spec", {}).items() if key != "nodeName"}
            kept[kind, name] = (metadata, spec, item.get("data"))
    return kept


def check_plan(cluster: Cluster, made: Plan) -> None:
    """What no plan may do, given what it has seen."""
    spec = cluster.spec
    wanted = 0 if spec.get("suspend") else spec["replicas"]
    rollout = {"maxSurge": 0, "maxUnavailable": 1, **spec.get("rollout", {})}
    pods, serving = cluster.replica_pods(), cluster.serving()
    gone = {action.name for action in made.actions if isinstance(action, Delete)}
    drained = {action.pod for action in made.actions if isinstance(action, Drain)}
    assert drained <= gone, "what is drained is deleted"

    touched = {replica_of(pods[name]) for name in gone & pods.keys()}
    left = len(serving - touched)
    assert left >= min(len(serving), wanted - rollout["maxUnavailable"]), "too many at a time"
    for name in gone & pods.keys():
        leader = f"llama-{replica_of(pods[name])}-0"
        if leader in pods and replica_of(pods[name]) in serving:
            assert leader in gone, "groups leave whole, the leader first"

    created = {replica_of(dict(action.manifest)) for action in made.actions if isinstance(action, Create)}
    if created:
        present = {replica_of(pod) for pod in pods.values()}
        assert len(created | present) <= max(wanted + rollout["maxSurge"], len(present)), "too many replicas"
    assert made.status["observedGeneration"] == cluster.generation


def replica_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"][names.REPLICA])


# -- an operator that dies -----------------------------------------------------------------------------------------


def _grow(cluster: Cluster) -> None:
    cluster.change(replicas=3)


def _shrink(cluster: Cluster) -> None:
    cluster.change(replicas=1)


def _roll(cluster: Cluster) -> None:
    cluster.change(cache={"blockSize": 32})


def _go_live(cluster: Cluster) -> None:
    cluster.change(scheduler={"type": "SpaceSharing"}, prioritizer={"type": "LRS"})


def _suspend(cluster: Cluster) -> None:
    cluster.change(suspend=True)


def _fail(cluster: Cluster) -> None:
    cluster.fail("llama-0-0", 3)


def _fail_the_last_pod(cluster: Cluster) -> None:
    cluster.fail([name for name in cluster.replica_pods() if name.startswith("llama-0-")][-1], 3)


def _open_a_port(cluster: Cluster) -> None:
    cluster.change(networking={"grpcPort": 8471, "openAIPort": 8000})


def _begin(cluster: Cluster) -> None:
    cluster.objects.clear()
    cluster.processes.clear()
    cluster.status = {}


@pytest.mark.parametrize("spec", [minimal_spec(replicas=2), parallel_spec(replicas=2)], ids=["one pod", "two pods"])
@pytest.mark.parametrize(
    "event", [_begin, _grow, _shrink, _roll, _go_live, _suspend, _fail, _fail_the_last_pod, _open_a_port]
)
def test_an_operator_may_die_between_any_two_calls(spec: dict[str, Any], event: Callable[[Cluster], None]) -> None:
    settled = Cluster(spec)
    settled.settle()
    event(settled)
    whole = copy.deepcopy(settled)
    whole.settle()
    while (made := settled.plan()).actions or made.status != settled.status:
        calls = [action for action in made.actions if not isinstance(action, Event)]
        for number in range(len(calls) + 1):
            cluster = copy.deepcopy(settled)
            cluster.write_status(made)
            for action in calls[:number]:
                cluster.do(action)
            cluster.settle()
            assert lasting(cluster) == lasting(whole), f"after {number} of {calls}"
            assert cluster.status["recovery"] == whole.status["recovery"]
        settled.carry_out(made)
        settled.live_on()


# -- anything at any time ------------------------------------------------------------------------------------------


SCHEDULERS = ("FixedChunk", "DynamicChunk", "SpaceSharing")


class World(RuleBasedStateMachine):
    """A user, pods, nodes and calls that fail, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(minimal_spec(replicas=2, rollout={"maxSurge": 0, "maxUnavailable": 1}))
        self.stale: Plan | None = None

    @rule(replicas=st.integers(0, 4))
    def scale(self, replicas: int) -> None:
        self.cluster.change(replicas=replicas)

    @rule(block=st.sampled_from([8, 16, 32]), surge=st.integers(0, 2), unavailable=st.integers(0, 2))
    def roll(self, block: int, surge: int, unavailable: int) -> None:
        rollout = {"maxSurge": surge, "maxUnavailable": max(unavailable, 1 - surge)}
        self.cluster.change(cache={"blockSize": block}, rollout=rollout)

    @rule(tensor=st.sampled_from([1, 2, 4]))
    def resize(self, tensor: int) -> None:
        self.cluster.change(parallelism={"tensor": tensor}, resources=parallel_spec()["resources"] | {"gpusPerPod": 1})
        self.cluster.change(worker={"executionBackend": "Python"})

    @rule(chunk=st.sampled_from([256, 512]))
    def tune(self, chunk: int) -> None:
        self.cluster.change(scheduler={"type": "FixedChunk", "fixedChunk": {"chunkSize": chunk}})

    @rule(scheduler=st.sampled_from(SCHEDULERS), measured=st.booleans())
    def switch(self, scheduler: str, measured: bool) -> None:
        profile = {"type": "Auto"} if measured else {"type": "ConfigMap", "configMap": {"name": "times"}}
        self.cluster.change(scheduler={"type": scheduler, "profile": profile}, prioritizer={"type": "LRS"})

    @rule(suspend=st.booleans(), paused=st.booleans(), partition=st.integers(0, 2))
    def hold(self, suspend: bool, paused: bool, partition: int) -> None:
        rollout = {"maxSurge": 0, "maxUnavailable": 1, **self.cluster.spec["rollout"]}
        self.cluster.change(suspend=suspend, rollout=rollout | {"paused": paused, "partition": partition})

    @rule(wrong=st.sampled_from(["nonsense", "PrefetchedChunk"]))
    def break_spec(self, wrong: str) -> None:
        self.cluster.change(scheduler={"type": wrong})

    @precondition(lambda self: self.cluster.pods())
    @rule(data=st.data())
    def get_on(self, data: st.DataObject) -> None:
        self.cluster.now += data.draw(st.integers(0, 60))
        self.cluster.progress(data.draw(st.sampled_from(sorted(self.cluster.pods()))))

    @rule(seconds=st.integers(0, 700))
    def live_on(self, seconds: int) -> None:
        self.cluster.live_on(seconds)

    @precondition(lambda self: self.cluster.replica_pods())
    @rule(data=st.data(), code=st.sampled_from([0, 1, 2, 3, 137]))
    def fail(self, data: st.DataObject, code: int) -> None:
        self.cluster.fail(data.draw(st.sampled_from(sorted(self.cluster.replica_pods()))), code)

    @precondition(lambda self: self.cluster.pods())
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        self.cluster.evict(data.draw(st.sampled_from(sorted(self.cluster.pods()))))

    @precondition(lambda self: not self.cluster.nodes_down)
    @rule(node=st.sampled_from(["n1", "n2"]))
    def lose_node(self, node: str) -> None:
        self.cluster.lose_node(node)

    @rule()
    def find_nodes(self) -> None:
        self.cluster.nodes_down.clear()

    @rule(room=st.none() | st.integers(0, 6))
    def crowd(self, room: int | None) -> None:
        self.cluster.room = room

    @rule(silent=st.booleans())
    def hush(self, silent: bool) -> None:
        self.cluster.silent = silent

    @rule(keep=st.booleans())
    def plan(self, keep: bool) -> None:
        """A plan is carried out; or kept, to be carried out too late, as by a second operator."""
        made = self.cluster.plan()
        if self.accepted():
            check_plan(self.cluster, made)
        if keep:
            self.stale = made
        else:
            self.cluster.carry_out(made)

    @rule(data=st.data())
    def plan_in_part(self, data: st.DataObject) -> None:
        """Calls fail, or succeed without an answer: the plan ends there."""
        made = self.cluster.plan()
        self.cluster.write_status(made)
        for action in made.actions[: data.draw(st.integers(0, len(made.actions)))]:
            self.cluster.do(action)

    @precondition(lambda self: self.stale is not None)
    @rule()
    def plan_too_late(self) -> None:
        assert self.stale is not None
        self.cluster.disturbed = True
        for action in self.stale.actions:
            self.cluster.do(action)
        self.stale = None

    def accepted(self) -> bool:
        return self.cluster.spec.get("scheduler", {"type": "FixedChunk"})["type"] in SCHEDULERS

    @invariant()
    def no_group_runs_two_revisions(self) -> None:
        for replica in self.cluster.serving():
            revisions = {rev for pod, rev in self.cluster.revisions().items() if pod.startswith(f"llama-{replica}-")}
            assert len(revisions) == 1

    def teardown(self) -> None:
        """After all of it: a spec that can be served is, whatever was before."""
        cluster = self.cluster
        cluster.nodes_down.clear()
        cluster.silent = False
        cluster.room = None
        self.stale = None
        rollout = cluster.spec["rollout"] | {"paused": False, "partition": 0}
        cluster.change(scheduler={"type": "FixedChunk"}, suspend=False, rollout=rollout, cache={"blockSize": 64})
        cluster.settle()
        fresh = Cluster(cluster.spec)
        fresh.settle()
        kinds = [key for key in lasting(fresh) if key[0] not in ("Pod", "ConfigMap", "NetworkPolicy")]
        assert {key: lasting(cluster)[key] for key in kinds} == {key: lasting(fresh)[key] for key in kinds}
        assert len(cluster.serving()) == cluster.spec["replicas"]
        assert len(cluster.replica_pods()) == len(fresh.replica_pods())
        assert set(cluster.revisions().values()) == set(fresh.revisions().values())
        assert cluster.condition("Ready")["status"] == ("True" if cluster.spec["replicas"] else "False")
        assert cluster.status["observedGeneration"] == cluster.generation
        assert cluster.plan() == Plan(cluster.status, (), None), "at rest there is nothing to do and nothing to write"


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestWorld = World.TestCase

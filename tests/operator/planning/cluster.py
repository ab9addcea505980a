"""A cluster in memory that drives the planner: an object store, pods that live and die, processes that report.

It is no stand-in for an API server, which the cluster tests use: it is the world that a pure function is run against.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vajra.operator.model import (
    Action,
    Apply,
    Create,
    Delete,
    Drain,
    Event,
    Observed,
    Plan,
    Report,
    Settings,
    Stage,
    UpdateConfig,
)
from vajra.operator.planning import clock, names, plan

SETTINGS = Settings(replica_image="registry.example/vajra:1")
START = 1_800_000_000.0
_STAGES = (Stage("WeightDownload", 4.0), Stage("WeightLoad", 2.0), Stage("Warmup", 0.5))

Object = dict[str, Any]


def minimal_spec(**fields: Any) -> Object:
    """The smallest spec that this version serves on CPUs, and what is given beside."""
    model = {"name": "smollm2-135m-instruct", "source": {"type": "Embedded"}, "dtype": "Auto"}
    return {"replicas": 1, "model": model, "resources": {"accelerator": {"type": "CPU"}}, **fields}


def parallel_spec(**fields: Any) -> Object:
    """Four ranks, two in a pod."""
    resources = {"accelerator": {"type": "GPU"}, "gpusPerPod": 2}
    spec = {"parallelism": {"tensor": 2, "pipeline": 2}, "worker": {"executionBackend": "Python"}}
    return minimal_spec(**{**spec, "resources": resources, **fields})


@dataclass
class Process:
    """What runs in a pod."""

    revision: str
    generation: int
    phase: str = "Starting"
    stages: tuple[Stage, ...] = (Stage("WeightDownload", 1.0, 0.43),)
    running: int = 0
    waiting: int = 0
    answers: bool = True
    worker_restarts: int = 0
    message: str = ""
    notices: tuple[str, ...] = ()
    config_refused: bool = False
    told: Object | None = None  # the spec of the last update that it took over

    def report(self) -> Report:
        return Report(
            phase=self.phase,
            revision=self.revision,
            generation=self.generation,
            running=self.running,
            waiting=self.waiting,
            worker_restarts=self.worker_restarts,
            kv_blocks=1000,
            block_size=16,
            max_batch_size=128,
            stages=self.stages,
            message=self.message,
            notices=self.notices,
            config_refused=self.config_refused,
        )


@dataclass
class Cluster:
    """One VajraDeployment, `llama`, and its world."""

    spec: Object
    settings: Settings = SETTINGS
    generation: int = 1
    status: Object = field(default_factory=dict)
    now: float = START
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)  # by UID of the pod
    nodes_down: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    room: int | None = None  # pods of replicas that the nodes take; None: any number
    silent: bool = False  # nobody answers the operator
    disturbed: bool = False  # a second operator has written what it had planned long ago
    uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- the operator --------------------------------------------------------------------------------------------

    def deployment(self) -> Object:
        meta = {"name": "llama", "namespace": "default", "uid": "cr-1", "generation": self.generation}
        return {"metadata": meta, "spec": self.spec, "status": self.status}

    def observed(self) -> Observed:
        reports = {}
        for name, pod in self.pods().items():
            process = self._process(name)
            if process and process.answers and not (self.silent or self._node_of(pod) in self.nodes_down):
                reports[name] = process.report()
        return copy.deepcopy(
            Observed(self.deployment(), list(self.objects.values()), reports, frozenset(self.nodes_down), self.now)
        )

    def plan(self) -> Plan:
        return plan(self.observed(), self.settings)

    def carry_out(self, made: Plan) -> None:
        self.write_status(made)
        for action in made.actions:
            self.do(action)

    def write_status(self, made: Plan) -> None:
        self.status = json.loads(json.dumps(made.status))

    def do(self, action: Action) -> None:
        match action:
            case Apply(manifest):
                self._apply(manifest)
            case Create(manifest):
                self._create(manifest)
            case Delete(kind, name, uid, grace):
                self._delete(kind, name, uid, grace)
            case Drain(pod):
                if process := self._process(pod):
                    process.phase = "Draining"
            case UpdateConfig(pod, generation, spec):
                process = self._process(pod)
                if process and generation >= process.generation and self._is_same_revision(process, spec):
                    process.generation, process.told = generation, json.loads(json.dumps(spec))
            case Event():
                self.events.append(action)

    # -- the user ------------------------------------------------------------------------------------------------

    def change(self, **fields: Any) -> None:
        """Changes top-level fields of the spec."""
        self.spec = {**self.spec, **fields}
        self.generation += 1

    # -- the world -----------------------------------------------------------------------------------------------

    def pods(self, role: str | None = None) -> dict[str, Object]:
        """Pods by name; of a role, or of all."""
        return {
            name: item
            for (kind, name), item in sorted(self.objects.items())
            if kind == "Pod" and role in (None, item["metadata"]["labels"][names.ROLE])
        }

    def replica_pods(self) -> dict[str, Object]:
        """Pods of replicas by name."""
        return {name: pod for name, pod in self.pods().items() if names.REPLICA in pod["metadata"]["labels"]}

    def process(self, pod: str) -> Process:
        """What runs in a pod."""
        return self.processes[self.pods()[pod]["metadata"]["uid"]]

    def progress(self, name: str) -> None:
        """A pod gets one step further on its way to serving, or on its way out."""
        pod = self.pods()[name]
        uid, status = pod["metadata"]["uid"], pod["status"]
        if self._node_of(pod) in self.nodes_down:
            return
        if "deletionTimestamp" in pod["metadata"]:
            self._forget(pod)
        elif "nodeName" not in pod["spec"] and self._is_full(pod):
            if "conditions" not in status:
                self._set(pod, "PodScheduled", "False")
        elif "nodeName" not in pod["spec"]:
            pod["spec"]["nodeName"] = f"n{1 + sum('nodeName' in each['spec'] for each in self.pods().values()) % 3}"
            self._set(pod, "PodScheduled", "True")
        elif uid not in self.processes and status["phase"] == "Pending":
            status["phase"] = "Running"
            container = pod["spec"]["containers"][0]["name"]
            running = {"running": {"startedAt": clock.rfc3339(self.now)}}
            status["containerStatuses"] = [{"name": container, "state": running, "started": False, "ready": False}]
            self.processes[uid] = self._boot(pod)
            if self.processes[uid].phase == "Refused":
                self.fail(name, 2, "there is no such revision")
        elif status["phase"] == "Running" and not self._is_ready(pod):
            status["containerStatuses"][0]["started"] = True
            process = self.processes[uid]
            process.phase, process.stages = "Serving", _STAGES if process.stages else ()
            self._set(pod, "Ready", "True")

    def fail(self, name: str, exit_code: int = 1, message: str = "boom") -> None:
        """The process of a pod ends."""
        pod = self.pods()[name]
        if self.processes.pop(pod["metadata"]["uid"], None) is None:
            return
        pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
        terminated = {"exitCode": exit_code, "message": message, "finishedAt": clock.rfc3339(self.now)}
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": terminated}
        self._set(pod, "Ready", "False")

    def evict(self, name: str) -> None:
        """Someone deletes a pod: kubectl delete, kubectl drain."""
        self._delete("Pod", name, self.pods()[name]["metadata"]["uid"], None)

    def lose_node(self, node: str) -> None:
        """A node stops answering; its pods are given up by the cluster, and cannot end."""
        self.nodes_down.add(node)
        for pod in self.pods().values():
            if self._node_of(pod) == node:
                self._set(pod, "Ready", "False")
                pod["metadata"].setdefault("deletionTimestamp", clock.rfc3339(self.now + 30))

    def roll_gateways(self) -> None:
        """One step of what the cluster does for a Deployment with maxSurge 1 and maxUnavailable 0."""
        deployment = self.objects.get(("Deployment", "llama-gateway"))
        if deployment is None:
            return
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        written = json.dumps(template, sort_keys=True)
        pods = {n: p for n, p in self.pods(names.GATEWAY).items() if "deletionTimestamp" not in p["metadata"]}
        new = [n for n, p in pods.items() if p["template"] == written]
        old = [n for n in pods if n not in new]
        if len(new) < wanted and len(pods) <= wanted:
            name = f"llama-gateway-{next(self.uids)}"
            meta = {"name": name, "labels": template["metadata"]["labels"]}
            self._create({"kind": "Pod", "metadata": meta, "spec": template["spec"], "template": written})
        elif old and sum(self._is_ready(pods[name]) for name in new) > wanted - len(old):
            self.evict(old[0])
        elif len(new) > wanted:
            self.evict(new[-1])

    def live_on(self, seconds: float = 1.0) -> None:
        """Time passes and everything gets one step on, as on a good day."""
        self.now += seconds
        self.roll_gateways()
        for name in list(self.pods()):
            self.progress(name)

    def settle(self) -> None:
        """Goes on until there is nothing left to do, waits included; fails when that does not come."""
        for _ in range(400):
            before = copy.deepcopy((self.status, self.objects, self.processes))
            made = self.plan()
            self.carry_out(made)
            self.live_on()
            if before != (self.status, self.objects, self.processes) or made.actions:
                continue
            if made.requeue_after is None:
                return
            self.now += made.requeue_after
        raise AssertionError(f"no rest after 400 plans; the last: {made}")

    # -- questions -----------------------------------------------------------------------------------------------

    def condition(self, kind: str) -> Object:
        return next(each for each in self.status["conditions"] if each["type"] == kind)

    def revisions(self) -> dict[str, str]:
        """Revision of every replica's pod."""
        return {name: pod["metadata"]["labels"][names.REVISION] for name, pod in self.replica_pods().items()}

    def serving(self) -> set[int]:
        """Indices of replicas of which all pods are ready and none is going."""
        groups: dict[int, list[Object]] = {}
        for pod in self.replica_pods().values():
            groups.setdefault(int(pod["metadata"]["labels"][names.REPLICA]), []).append(pod)
        return {
            replica
            for replica, pods in groups.items()
            if len(pods) == int(pods[0]["metadata"]["labels"][names.PODS])
            and all(self._is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods)
        }

    # -- within --------------------------------------------------------------------------------------------------

    def _apply(self, manifest: Any) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        uid = self.objects[key]["metadata"]["uid"] if key in self.objects else f"u{next(self.uids)}"
        self.objects[key] = copy.deepcopy(dict(manifest))
        self.objects[key]["metadata"]["uid"] = uid

    def _create(self, manifest: Any) -> None:
        key = ("Pod", manifest["metadata"]["name"])
        if key in self.objects:
            return
        pod = copy.deepcopy(dict(manifest))
        pod["metadata"] |= {"uid": f"u{next(self.uids)}", "creationTimestamp": clock.rfc3339(self.now)}
        pod["status"] = {"phase": "Pending"}
        self.objects[key] = pod

    def _delete(self, kind: str, name: str, uid: str, grace: int | None) -> None:
        item = self.objects.get((kind, name))
        if item is None or item["metadata"]["uid"] != uid:
            return
        if kind == "Pod" and grace != 0 and item["metadata"]["uid"] in self.processes:
            item["metadata"].setdefault("deletionTimestamp", clock.rfc3339(self.now + 300))
        else:
            self._forget(item)

    def _forget(self, item: Object) -> None:
        self.processes.pop(item["metadata"]["uid"], None)
        del self.objects[item["kind"], item["metadata"]["name"]]

    def _process(self, name: str) -> Process | None:
        pod = self.pods().get(name)
        return None if pod is None else self.processes.get(pod["metadata"]["uid"])

    def _boot(self, pod: Object) -> Process:
        data = self.objects["ConfigMap", "llama-config"]["data"]
        revision = pod["metadata"]["labels"][names.REVISION]
        found = names.revision_file(revision) in data
        assert found or self.disturbed, "a pod finds its revision"
        generation = json.loads(data[names.LIVE_FILE])["generation"]
        process = Process(revision, generation, "Starting" if found else "Refused")
        if pod["metadata"]["labels"][names.ROLE] == names.GATEWAY:
            process.stages = ()  # it tells of none
        return process

    def _is_same_revision(self, process: Process, spec: Any) -> bool:
        """A process refuses an update with other fields than live ones."""
        data = self.objects["ConfigMap", "llama-config"]["data"]
        own = json.loads(data[names.revision_file(process.revision)])["spec"]
        same = all(spec[key] == own[key] for key in ("model", "cache", "parallelism", "image"))
        return bool(same and spec["scheduler"]["profile"] == own["scheduler"]["profile"])

    def _set(self, pod: Object, kind: str, status: str) -> None:
        conditions = pod["status"].setdefault("conditions", [])
        conditions[:] = [each for each in conditions if each["type"] != kind]
        conditions.append({"type": kind, "status": status, "lastTransitionTime": clock.rfc3339(self.now)})

    def _is_ready(self, pod: Object) -> bool:
        return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))

    def _is_full(self, pod: Object) -> bool:
        placed = sum("nodeName" in each["spec"] for each in self.replica_pods().values())
        return self.room is not None and names.REPLICA in pod["metadata"]["labels"] and placed >= self.room

    def _node_of(self, pod: Object) -> str:
        return str(pod["spec"].get("nodeName", ""))

"""What becomes of a plan on an API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import Api
from tests.cluster.api_proxy import ApiProxy, Call, Refusal
from tests.cluster.kubectl import Kubectl

from vajra.operator.cache import Cache, Key
from vajra.operator.cluster import ApiError, Cluster, login
from vajra.operator.events import Recorder
from vajra.operator.executor import Executor, NameTakenError, NoAddressError
from vajra.operator.kinds import LABEL, VAJRA_DEPLOYMENT
from vajra.operator.model import Action, Apply, Create, Delete, Drain, Event, Plan
from vajra.operator.poller import Poller


@pytest.fixture
def here(api: Api, crd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is logged in, and the server knows VajraDeployments."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))


class Bench:
    """A VajraDeployment `llama`, an executor, and what the executor knows."""

    def __init__(self, cluster: Cluster, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.key = Key(kubectl.namespace, "llama")
        self.cache = Cache()
        self._executor = Executor(
            cluster, self.cache, Poller(self.cache.pods, lambda key: None), Recorder(cluster, "test")
        )

    async def execute(self, *actions: Action, status: dict[str, Any] | None = None) -> None:
        """Carries out a plan that was made from what is known."""
        deployment = self.cache.deployment(self.key)
        assert deployment is not None
        await self._executor.execute(
            self.key, deployment, Plan(deployment.get("status", {}) if status is None else status, actions)
        )

    def version(self, kind: str, name: str) -> str:
        """An object's resource version."""
        found: str = self.kubectl.get(kind, name)["metadata"]["resourceVersion"]
        return found


@pytest.fixture
async def bench(here: None, kubectl: Kubectl) -> AsyncIterator[Bench]:
    async with Cluster() as cluster:
        bench = Bench(cluster, kubectl)
        meta = {"name": "llama", "namespace": kubectl.namespace}
        manifest = {"apiVersion": VAJRA_DEPLOYMENT.api_version, "kind": VAJRA_DEPLOYMENT.name, "metadata": meta}
        bench.cache.store(
            await cluster.create(VAJRA_DEPLOYMENT, kubectl.namespace, manifest | {"spec": {"model": {"name": "m"}}})
        )
        yield bench


def config_map(data: dict[str, str], name: str = "llama-config") -> dict[str, Any]:
    """One of ours."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {LABEL: "llama"}},
        "data": data,
    }


def pod(name: str) -> dict[str, Any]:
    """One of ours."""
    containers = [{"name": "worker", "image": "none"}]
    meta = {"name": name, "labels": {LABEL: "llama"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}}


async def test_an_apply_owns_what_it_names_and_nothing_else(bench: Bench) -> None:
    await bench.execute(Apply(config_map({"a": "1", "b": "2"})))
    bench.kubectl.patch("configmap", "llama-config", {"data": {"theirs": "3"}})
    await bench.execute(Apply(config_map({"a": "5"})))
    assert bench.kubectl.get("configmap", "llama-config")["data"] == {"a": "5", "theirs": "3"}


async def test_an_apply_of_what_is_there_changes_nothing(bench: Bench) -> None:
    await bench.execute(Apply(config_map({"a": "1"})))
    before = bench.version("configmap", "llama-config")
    await bench.execute(Apply(config_map({"a": "1"})))
    assert bench.version("configmap", "llama-config") == before


async def test_what_was_done_is_known_without_a_watch(bench: Bench) -> None:
    await bench.execute(Apply(config_map({"a": "1"})), Create(pod("llama-0-0")), status={"replicas": 3})
    assert [child["metadata"]["name"] for child in bench.cache.children(bench.key)] == ["llama-config", "llama-0-0"]
    known = bench.cache.deployment(bench.key)
    assert known is not None
    assert known["status"]["replicas"] == 3


@pytest.mark.parametrize("action", [Apply(config_map({"a": "1"})), Create(config_map({"a": "1"}))])
async def test_what_a_user_made_under_our_name_is_left_alone(bench: Bench, action: Action) -> None:
    bench.kubectl("create", "configmap", "llama-config", "--from-literal=theirs=1")
    with pytest.raises(NameTakenError, match=r"ConfigMap llama-config exists and does not belong to .* llama"):
        await bench.execute(action)
    assert bench.kubectl.get("configmap", "llama-config")["data"] == {"theirs": "1"}
    (event,) = bench.kubectl.find("events.events.k8s.io")
    assert event["type"] == "Warning"
    assert "delete it, or give the VajraDeployment another name" in event["note"]


async def test_a_pod_that_was_created_already_is_no_error(bench: Bench) -> None:
    bench.kubectl.create(pod("llama-0-0"))
    await bench.execute(Create(pod("llama-0-0")), Create(pod("llama-1-0")))
    assert {one["metadata"]["name"] for one in bench.kubectl.find("pods")} == {"llama-0-0", "llama-1-0"}


async def test_a_delete_hits_the_object_that_was_meant_and_no_younger_one(bench: Bench) -> None:
    await bench.execute(Create(pod("llama-0-0")))
    (old,) = bench.cache.children(bench.key)
    delete = Delete("Pod", "llama-0-0", old["metadata"]["uid"], grace_seconds=0)
    await bench.execute(delete)
    assert bench.kubectl.find("pods") == []
    bench.kubectl.create(pod("llama-0-0"))
    await bench.execute(delete)
    assert len(bench.kubectl.find("pods")) == 1
    bench.kubectl.delete("pod", "llama-0-0")
    await bench.execute(delete)


async def test_the_first_failure_ends_a_plan(bench: Bench) -> None:
    wrong = config_map({"not a key!": "1"})
    with pytest.raises(ApiError, match="not a key!") as failure:
        await bench.execute(Create(pod("llama-0-0")), Apply(wrong), Create(pod("llama-1-0")))
    assert failure.value.status == 422
    assert [one["metadata"]["name"] for one in bench.kubectl.find("pods")] == ["llama-0-0"]


async def test_a_status_is_written_where_it_differs(bench: Bench) -> None:
    await bench.execute(status={"replicas": 1, "currentRevision": "v1:a", "capacity": {"kvBlocks": 7}})
    before = bench.version("vajradeployment", "llama")
    await bench.execute(status={"replicas": 1, "currentRevision": "v1:a", "capacity": {"kvBlocks": 7}})
    assert bench.version("vajradeployment", "llama") == before
    await bench.execute(status={"replicas": 2, "capacity": {"kvBlocks": 7}})
    assert bench.kubectl.get("vajradeployment", "llama")["status"] == {"replicas": 2, "capacity": {"kvBlocks": 7}}


async def test_a_status_that_was_planned_on_an_older_object_is_not_written_and_nothing_is_done(bench: Bench) -> None:
    bench.kubectl.patch("vajradeployment", "llama", {"status": {"replicas": 5}}, subresource="status")
    with pytest.raises(ApiError, match="409"):
        await bench.execute(Create(pod("llama-0-0")), status={"replicas": 1})
    assert bench.kubectl.get("vajradeployment", "llama")["status"] == {"replicas": 5}
    assert bench.kubectl.find("pods") == []
    await bench.execute(status={"replicas": 6})  # it has looked at what is there now
    assert bench.kubectl.get("vajradeployment", "llama")["status"] == {"replicas": 6}


async def test_an_event_that_comes_again_is_counted(bench: Bench) -> None:
    ready = Event("Ready", "every replica serves")
    await bench.execute(ready, ready, Event("Degraded", "a replica is down", warning=True), ready)
    events = bench.kubectl.find("events.events.k8s.io")
    assert {(event["reason"], event["type"]) for event in events} == {("Ready", "Normal"), ("Degraded", "Warning")}
    counts = {event["reason"]: event.get("series", {}).get("count", 1) for event in events}
    assert counts == {"Ready": 3, "Degraded": 1}
    assert "every replica serves" in bench.kubectl("describe", "vajradeployment", "llama")


async def test_a_call_that_a_pod_cannot_take_stops_nothing_and_is_told(bench: Bench) -> None:
    with pytest.raises(NoAddressError, match="there is no pod llama-0-0"):
        await bench.execute(Drain("llama-0-0", 10), Create(pod("llama-1-0")))
    assert len(bench.kubectl.find("pods")) == 1


@pytest.mark.usefixtures("here")
async def test_a_server_that_is_busy_says_when_to_come_back(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(call: Call) -> Refusal | None:
        return Refusal(429, "TooManyRequests", {"Retry-After": "7"})

    with ApiProxy(login()) as proxy:
        proxy.before = busy
        monkeypatch.setenv("KUBECONFIG", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
        async with Cluster() as cluster:
            with pytest.raises(ApiError, match="429 TooManyRequests") as failure:
                await cluster.get(VAJRA_DEPLOYMENT, namespace, "llama")
    assert failure.value.after == 7.0


@pytest.mark.usefixtures("here")
async def test_a_server_that_is_not_there_is_a_failure_like_another(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiProxy(login()) as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
    async with Cluster() as cluster:
        with pytest.raises(ApiError, match=r"GET /apis/vajra.ai/.*/llama: no answer"):
            await cluster.get(VAJRA_DEPLOYMENT, namespace, "llama")

"""The cache, fed as a cluster feeds it: late, twice, with gaps."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vajra.operator.cache import Cache, Key
from vajra.operator.kinds import LABEL, POD, VAJRA_DEPLOYMENT

KEY = Key("default", "llama")
NAMES = ("llama-0-0", "llama-1-0")


def pod(name: str, uid: str, version: int, owner: str | None = KEY.name, **status: Any) -> dict[str, Any]:
    """A pod as the API server shows it."""
    labels = {} if owner is None else {LABEL: owner}
    meta = {"name": name, "namespace": KEY.namespace, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": status}


def deployment(version: int) -> dict[str, Any]:
    """A VajraDeployment as the API server shows it."""
    meta = {"name": KEY.name, "namespace": KEY.namespace, "uid": "vd", "resourceVersion": str(version)}
    return {"apiVersion": VAJRA_DEPLOYMENT.api_version, "kind": VAJRA_DEPLOYMENT.name, "metadata": meta}


def versions(cache: Cache) -> dict[str, int]:
    """By UID, the versions of the children that are known."""
    return {child["metadata"]["uid"]: int(child["metadata"]["resourceVersion"]) for child in cache.children(KEY)}


class Server:
    """Two pods that are created, changed and deleted, and the whole story of it: (is it gone, the object)."""

    def __init__(self, changes: list[tuple[str, bool]]) -> None:
        self.story: list[tuple[bool, dict[str, Any]]] = []
        self.lists: list[list[dict[str, Any]]] = [[]]  # by version
        living: dict[str, dict[str, Any]] = {}
        for version, (name, delete) in enumerate(changes, start=1):
            delete = delete and name in living
            uid = living[name]["metadata"]["uid"] if name in living else f"{name}@{version}"
            changed = pod(name, uid, version)
            if delete:
                del living[name]
            else:
                living[name] = changed
            self.story.append((delete, changed))
            self.lists.append(list(living.values()))

    @property
    def versions(self) -> dict[str, int]:
        """By UID, those of the pods that live in the end."""
        return {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in self.lists[-1]}

    def list_into(self, cache: Cache, version: int) -> None:
        """A list that was made at `version` and arrives now."""
        items = self.lists[version]
        cache.store_page(items)
        cache.prune(POD, None, {(KEY.namespace, item["metadata"]["name"]) for item in items}, version)


changes = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12)


@given(changes, st.data())
def test_whatever_arrives_in_whatever_order_a_list_sets_right(changes: list[tuple[str, bool]], data: Any) -> None:
    server, cache = Server(changes), Cache()
    newest: dict[str, int] = {}
    for version in data.draw(st.lists(st.integers(0, len(changes)), max_size=20), label="what arrives"):
        how = data.draw(st.sampled_from(["event", "answer", "list"]))
        gone, item = server.story[version - 1] if version else (False, {})
        if how == "list" or not version:
            server.list_into(cache, version)
        elif gone:
            cache.observe_gone(item)
        elif how == "event":
            cache.observe(item)
        else:
            cache.store(item)
        for uid, known in versions(cache).items():
            assert known >= newest.get(uid, 0), "an older version replaced a newer one"
            newest[uid] = known
    server.list_into(cache, len(changes))
    assert versions(cache) == server.versions


@given(changes)
def test_events_in_order_need_no_list(changes: list[tuple[str, bool]]) -> None:
    server, cache = Server(changes), Cache()
    for gone, item in server.story:
        assert (cache.observe_gone(item) if gone else cache.observe(item)) == {KEY}
        assert (cache.observe_gone(item) if gone else cache.observe(item)) == set(), "a repeated event is news"
    assert versions(cache) == server.versions


def test_the_event_of_an_own_write_is_news_once() -> None:
    cache = Cache()
    cache.store(pod("llama-0-0", "a", 5))
    assert cache.observe(pod("llama-0-0", "a", 5)) == {KEY}
    assert cache.observe(pod("llama-0-0", "a", 5)) == set()


def test_a_pod_that_changes_hands_is_news_for_both() -> None:
    cache = Cache()
    cache.observe(pod("llama-0-0", "a", 1))
    assert cache.observe(pod("llama-0-0", "a", 2, owner="other")) == {KEY, Key("default", "other")}
    assert cache.children(KEY) == []
    assert cache.observe(pod("llama-0-0", "a", 3)) == {KEY, Key("default", "other")}


def test_a_pod_that_lost_its_label_and_got_it_back_is_ours_again() -> None:
    cache = Cache()
    cache.observe(pod("llama-0-0", "a", 1))
    cache.observe_gone(pod("llama-0-0", "a", 2, owner=None))
    assert cache.children(KEY) == []
    cache.observe(pod("llama-0-0", "a", 3))
    assert versions(cache) == {"a": 3}


def test_what_is_gone_for_good_does_not_come_back_with_a_late_answer() -> None:
    cache = Cache()
    cache.observe(pod("llama-0-0", "a", 1))
    cache.drop(POD, "default", "llama-0-0", "a")
    cache.store(pod("llama-0-0", "a", 9))
    assert cache.children(KEY) == []


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    cache = Cache()
    cache.store(deployment(1))
    assert cache.prune(VAJRA_DEPLOYMENT, "other", set(), 9) == set()
    assert cache.deployments() == [KEY]
    assert cache.prune(VAJRA_DEPLOYMENT, "default", set(), 9) == {KEY}
    assert cache.deployments() == []


def test_only_a_running_pod_has_an_address() -> None:
    cache = Cache()
    cache.observe(pod("llama-0-0", "a", 1, phase="Running", podIP="10.0.0.1"))
    cache.observe(pod("llama-1-0", "b", 2, phase="Succeeded", podIP="10.0.0.2"))
    assert {one.name: one.address for one in cache.pods()} == {"llama-0-0": "10.0.0.1", "llama-1-0": ""}


def test_a_watch_that_brings_nothing_new_is_overdue() -> None:
    cache = Cache()
    cache.observe(pod("llama-0-0", "a", 1))
    assert cache.overdue(0.0) == []
    cache.store(pod("llama-0-0", "a", 2))
    assert cache.overdue(3600.0) == []
    assert cache.overdue(-1.0) == ["Pod"]
    cache.observe(pod("llama-0-0", "a", 2))
    assert cache.overdue(-1.0) == []


def test_a_reader_cannot_change_what_is_known() -> None:
    cache = Cache()
    cache.store(deployment(1))
    found = cache.deployment(KEY)
    assert found is not None
    found["metadata"]["name"] = "changed"
    assert cache.deployment(KEY) == deployment(1) | {"metadata": deployment(1)["metadata"] | {"managedFields": []}}

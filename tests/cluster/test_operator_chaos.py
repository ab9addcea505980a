"""Whatever becomes of the operator, of what it says and of what it hears: the same objects come of it."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import operator_process
from tests.cluster.api import Api
from tests.cluster.api_proxy import ApiProxy, Call, Refusal
from tests.cluster.kubectl import Kubectl
from tests.cluster.operated import DEPLOYMENT, essence, expect_objects, owned, rests
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.waiting import eventually

from vajra.operator.cluster import login

EDIT = {"spec": {"replicas": 3, "networking": {"openAIPort": 8000}, "cache": {"blockSize": 32}}}
ARGUMENTS = ("--no-leader-elect", "--resync-seconds", "1", "--dead-watch-seconds", "15")
MOST_LIVES = 100


@pytest.fixture(autouse=True)
def _login(api: Api, crd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))


@pytest.fixture
def proxy() -> Iterator[ApiProxy]:
    with ApiProxy(login()) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def undisturbed(api: Api, crd: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What comes of the deployment and its edit on a good day."""
    folder = tmp_path_factory.mktemp("undisturbed")
    kubectl = api.kubectl.within(f"test-{secrets.token_hex(4)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(api.kubeconfig))
        kubectl("create", "namespace", kubectl.namespace)
        with ApiProxy(login()) as proxy, running(proxy, kubectl, folder) as operator:
            kubectl.apply(DEPLOYMENT)
            assert rests(operator, proxy)
            kubectl.patch("vajradeployment", "llama", EDIT)
            assert rests(operator, proxy)
            found = essence(kubectl)
            kubectl.delete("vajradeployment", "llama")
    yield found
    kubectl.delete("namespace", kubectl.namespace, wait=False)


def running(proxy: ApiProxy, kubectl: Kubectl, folder: Path) -> Any:
    """An operator whose calls go through the proxy."""
    kubeconfig = proxy.write_kubeconfig(folder / "kubeconfig")
    return operator_process.running(kubeconfig, kubectl.namespace, folder, *ARGUMENTS)


def live_by_single_writes(proxy: ApiProxy, kubectl: Kubectl, folder: Path) -> int:
    """Starts operators one after another until one finds nothing to do; how many there were before that.

    Each is killed at its first write: in turn before it hears that it was done, and before it makes the next one.
    """
    for life in range(MOST_LIVES):
        with running(proxy, kubectl, folder) as operator:
            _kill_at_first_write(proxy, operator, heard=bool(life % 2))
            try:
                if rests(operator, proxy):
                    return life
            finally:
                proxy.before, proxy.after = lambda call: None, lambda call: None
    raise AssertionError(f"{MOST_LIVES} operators found something to write")


def _kill_at_first_write(proxy: ApiProxy, operator: OperatorProcess, *, heard: bool) -> None:
    allowed = len(proxy.writes) + 1

    def before(call: Call) -> Refusal | None:
        if not call.writes or len(proxy.writes) < allowed:
            return None
        operator.process.kill()
        return Refusal(503, "Killed")

    def after(call: Call) -> Refusal | None:
        if call.writes and not heard:
            operator.process.kill()
        return None

    proxy.before, proxy.after = before, after


@pytest.mark.timeout(900)
def test_an_operator_that_dies_at_every_write(
    undisturbed: dict[str, Any], kubectl: Kubectl, proxy: ApiProxy, tmp_path: Path
) -> None:
    kubectl.apply(DEPLOYMENT)
    assert live_by_single_writes(proxy, kubectl, tmp_path) >= 10
    kubectl.patch("vajradeployment", "llama", EDIT)
    assert live_by_single_writes(proxy, kubectl, tmp_path) >= 5
    assert essence(kubectl) == undisturbed


class Storm:
    """Refuses writes, loses answers and breaks watches; the same way for the same seed, as far as calls come alike."""

    REFUSALS = (
        Refusal(409, "Conflict"),
        Refusal(429, "TooManyRequests", {"Retry-After": "1"}),
        Refusal(500, "InternalError"),
        Refusal(504, "Timeout"),
    )

    def __init__(self, proxy: ApiProxy, seed: int) -> None:
        self._proxy = proxy
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._break_watches)

    def __enter__(self) -> Storm:
        self._proxy.before = self._proxy.after = self._refuse
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._proxy.before, self._proxy.after = lambda call: None, lambda call: None

    def _refuse(self, call: Call) -> Refusal | None:
        return self._random.choice(self.REFUSALS) if call.writes and self._random.random() < 0.2 else None

    def _break_watches(self) -> None:
        while not self._over.wait(0.5):
            self._random.choice([self._proxy.cut_watches, self._proxy.expire_watches])()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_refusals_lost_answers_and_broken_watches(
    undisturbed: dict[str, Any], kubectl: Kubectl, proxy: ApiProxy, tmp_path: Path, seed: int
) -> None:
    with running(proxy, kubectl, tmp_path) as operator:
        operator.wait_until_leading()
        with Storm(proxy, seed):
            kubectl.apply(DEPLOYMENT)
            expect_objects(kubectl)
            kubectl.patch("vajradeployment", "llama", EDIT)
            expect_objects(kubectl, "Pod/llama-1-0", "Pod/llama-2-0")
        assert rests(operator, proxy), operator.tail()
    assert essence(kubectl) == undisturbed


def test_a_watch_that_brings_nothing_is_found_out(kubectl: Kubectl, proxy: ApiProxy, tmp_path: Path) -> None:
    with running(proxy, kubectl, tmp_path) as operator:
        kubectl.apply(DEPLOYMENT)
        expect_objects(kubectl)
        assert rests(operator, proxy)
        proxy.mute = True
        kubectl("scale", "vajradeployment", "llama", "--replicas=2")
        expect_objects(kubectl, "Pod/llama-1-0")
        assert operator.answer("/healthz") == (200, "ok\n")

        def unhealthy() -> None:
            code, text = operator.answer("/healthz")
            assert code == 503
            assert "the watch of VajraDeployment is dead" in text

        eventually(unhealthy)


def test_what_went_while_no_watch_was_open_is_made_again(kubectl: Kubectl, proxy: ApiProxy, tmp_path: Path) -> None:
    kubeconfig = proxy.write_kubeconfig(tmp_path / "kubeconfig")
    with operator_process.running(kubeconfig, kubectl.namespace, tmp_path, "--no-leader-elect") as operator:
        operator.wait_until_leading()
        kubectl.apply(DEPLOYMENT)
        expect_objects(kubectl)
        old = owned(kubectl)
        proxy.before = lambda call: Refusal(500, "InternalError")
        proxy.expire_watches()
        for kind, name in (("pod", "llama-0-0"), ("service", "llama")):
            kubectl.delete(kind, name)
        proxy.before = lambda call: None

        def anew() -> None:
            found = owned(kubectl)
            for name in ("Pod/llama-0-0", "Service/llama"):
                assert name in found
                assert found[name]["metadata"]["uid"] != old[name]["metadata"]["uid"]

        eventually(anew)

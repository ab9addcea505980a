"""Who leads, by a Lease on an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import Api
from tests.cluster.api_proxy import ApiProxy, Refusal
from tests.cluster.kubectl import Kubectl

from vajra.operator.cluster import Cluster, login
from vajra.operator.lease import Elector, LeadershipLostError

LEASE = ("lease", "vajra-operator")
SHORT: dict[str, Any] = {"lease_seconds": 2, "renew_seconds": 1.0, "retry_seconds": 0.1}


class Candidates:
    """Electors for one lease; each has a connection of its own."""

    def __init__(self, stack: AsyncExitStack, namespace: str) -> None:
        self._stack = stack
        self._namespace = namespace

    async def add(self, name: str, **times: Any) -> Elector:
        """Another candidate."""
        cluster = await self._stack.enter_async_context(Cluster())
        return Elector(cluster, self._namespace, name, **(SHORT | times))


@pytest.fixture
async def candidates(api: Api, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Candidates]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    async with AsyncExitStack() as stack:
        yield Candidates(stack, namespace)
    await asyncio.sleep(
        0.1
    )  # a connection whose request was cancelled takes leave of TLS, which aiohttp does not await


@asynccontextmanager
async def held(elector: Elector) -> AsyncIterator[asyncio.Task[None]]:
    """It renews its lease meanwhile."""
    holding = asyncio.create_task(elector.hold())
    yield holding
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


def holder(kubectl: Kubectl) -> str:
    """Who leads, as the lease says."""
    name: str = kubectl.get(*LEASE)["spec"]["holderIdentity"]
    return name


async def test_one_leads_and_the_other_follows_when_it_lets_go(candidates: Candidates, kubectl: Kubectl) -> None:
    first, second = await candidates.add("first", lease_seconds=3600), await candidates.add("second")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(1.0)  # several attempts
    assert first.leading
    assert not waiting.done()
    with pytest.raises(LeadershipLostError):
        second.check()
    await first.release()
    assert not first.leading
    await asyncio.wait_for(waiting, 30)
    assert holder(kubectl) == "second"
    assert kubectl.get(*LEASE)["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_is_gone_is_followed_when_its_lease_has_run_out(
    candidates: Candidates, kubectl: Kubectl
) -> None:
    first, second = await candidates.add("first"), await candidates.add("second")
    await first.acquire()
    await asyncio.wait_for(second.acquire(), 30)
    assert holder(kubectl) == "second"
    with pytest.raises(LeadershipLostError):
        first.check()


async def test_a_leader_that_renews_is_not_followed(candidates: Candidates) -> None:
    patient = {"lease_seconds": 5, "renew_seconds": 4.0}  # a write of a busy API server takes a second at times
    first, second = await candidates.add("first", **patient), await candidates.add("second", **patient)
    await first.acquire()
    async with held(first):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.acquire(), 2 * patient["lease_seconds"])
        assert first.leading


async def test_other_machines_clocks_count_for_nothing(candidates: Candidates, kubectl: Kubectl) -> None:
    first, second = await candidates.add("first", lease_seconds=3600), await candidates.add("second")
    await first.acquire()
    kubectl.patch(*LEASE, {"spec": {"renewTime": "2001-01-01T00:00:00.000000Z"}})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.acquire(), 1.0)


async def test_a_leader_whose_lease_another_took_gives_up(candidates: Candidates, kubectl: Kubectl) -> None:
    first = await candidates.add("first", lease_seconds=3600, renew_seconds=3000.0)
    await first.acquire()
    kubectl.patch(*LEASE, {"spec": {"holderIdentity": "thief"}})
    with pytest.raises(LeadershipLostError, match="thief holds the lease"):
        await asyncio.wait_for(first.hold(), 30)
    assert not first.leading


async def test_a_write_of_others_to_the_lease_costs_no_leadership(candidates: Candidates, kubectl: Kubectl) -> None:
    first = await candidates.add("first", lease_seconds=3600, renew_seconds=3000.0)
    await first.acquire()
    kubectl("label", *LEASE, "note=this")
    before = kubectl.get(*LEASE)["spec"]["renewTime"]
    async with held(first) as holding:
        async with asyncio.timeout(30):
            while (await asyncio.to_thread(kubectl.get, *LEASE))["spec"]["renewTime"] == before:
                assert not holding.done()
        assert first.leading


async def test_a_leader_that_is_cut_off_gives_up_before_its_lease_runs_out(
    candidates: Candidates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiProxy(login()) as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
        first = await candidates.add("first", lease_seconds=3600)
        await first.acquire()
        proxy.before = lambda call: Refusal(500, "InternalError")
        with pytest.raises(LeadershipLostError, match="could not be renewed for 1 s"):
            await asyncio.wait_for(first.hold(), 30)
        assert first.leading, "the lease has not run out: nobody else leads yet"

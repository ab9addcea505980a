"""Which request comes first, on a gateway over a real replica that takes one sequence at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.harness import manifest
from tests.midstream import ENDLESS

from vajra.config import VajraDeployment
from vajra.gateway import Gateway, GenerateRequestData
from vajra.gateway.api_keys import Tenant
from vajra.gateway.live_change import LocalChanges

ONE = {"type": "FixedChunk", "fixedChunk": {"maxBatchSize": 1, "chunkSize": 64}}


@asynccontextmanager
async def ordered_by(checkpoint: Path, **prioritizer: Any) -> AsyncIterator[Gateway]:
    """The order goes into force on the running server, as a live change."""
    running = Gateway(VajraDeployment.from_dict(manifest(checkpoint, scheduler=ONE)))
    await running.start()
    try:
        changed = VajraDeployment.from_dict(manifest(checkpoint, scheduler=ONE, prioritizer=prioritizer))
        await LocalChanges(running).change(changed)
        yield running
    finally:
        await running.stop(kill=True)


async def order_of(gateway: Gateway, requests: dict[str, dict[str, Any]]) -> list[str]:
    """The names of the requests in the order of their ends. They come one after the other while another one of the
    first one's tenant has the replica, which leaves when all wait."""
    ended: list[str] = []
    begun, leave = asyncio.Event(), asyncio.Event()

    async def occupy(tenant: Tenant) -> None:
        request = GenerateRequestData(prompt="x", max_tokens=ENDLESS, ignore_eos=True, tenant=tenant)
        async with aclosing(gateway.generate(request)) as deltas:
            more = 0
            async for _ in deltas:
                begun.set()
                more += leave.is_set()
                if more == 2:  # the first may have come before the last of the others, and its tenant is level with it
                    return
        raise AssertionError("it ended before all had come")

    async def run(name: str, fields: dict[str, Any]) -> None:
        request = GenerateRequestData(prompt="x", max_tokens=2, ignore_eos=True, **fields)
        async with aclosing(gateway.generate(request)) as deltas:
            async for _ in deltas:
                pass
        ended.append(name)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(occupy(next(iter(requests.values())).get("tenant", Tenant())))
        await begun.wait()
        for waiting, (name, fields) in enumerate(requests.items(), start=1):
            group.create_task(run(name, fields))
            while gateway.num_waiting < waiting:  # noqa: ASYNC110 (nothing tells when a request has come to the queue)
                await asyncio.sleep(0)
        leave.set()
    return ended


TARGETS = {"a": {"ttft_target_seconds": 50.0}, "b": {"ttft_target_seconds": 20.0}, "c": {"ttft_target_seconds": 30.0}}


@pytest.mark.parametrize(("kind", "expected"), [("FCFS", "abc"), ("EDF", "bca"), ("LRS", "bca")])
async def test_clients_targets_order_the_queue(checkpoint: Path, kind: str, expected: str) -> None:
    async with ordered_by(checkpoint, type=kind) as running:
        assert await order_of(running, TARGETS) == list(expected)


async def test_the_ledger_says_what_was_expected_and_how_much_was_to_spare(checkpoint: Path) -> None:
    async with ordered_by(checkpoint, type="EDF") as running:
        clock = asyncio.get_running_loop().time
        for target in (100.0, 1e-3):
            sent = clock()
            request = GenerateRequestData(
                prompt="x" * 200, max_tokens=2, ignore_eos=True, ledger=True, ttft_target_seconds=target
            )
            async with aclosing(running.generate(request)) as deltas:
                stays = [stay async for delta in deltas for stay in delta.ledger]
            (stay,) = stays
            assert stay.predicted_prefill_seconds is not None
            assert stay.predicted_prefill_seconds > 0
            assert stay.slack_seconds_at_first_token is not None
            assert target - (clock() - sent) <= stay.slack_seconds_at_first_token < target
            assert (stay.slack_seconds_at_first_token < 0.0) is (target != 100.0)


async def test_the_tenant_that_was_served_least_comes_first(checkpoint: Path) -> None:
    many, few = Tenant("many"), Tenant("few")
    requests = {f"m{i}": {"tenant": many} for i in range(3)} | {"f": {"tenant": few}}
    async with ordered_by(checkpoint, type="FCFS", fairness="PerTenant") as running:
        assert (await order_of(running, requests))[0] == "f", "the running request was another tenant's"
    async with ordered_by(checkpoint, type="FCFS") as running:
        assert await order_of(running, requests) == ["m0", "m1", "m2", "f"]


async def test_who_is_too_late_lets_the_others_be_in_time(checkpoint: Path) -> None:
    requests = {"late": {"ttft_target_seconds": 1e-3}, "fine": {"ttft_target_seconds": 50.0}}
    async with ordered_by(checkpoint, type="EDF", relegation="Late") as running:
        assert await order_of(running, requests) == ["fine", "late"]
    async with ordered_by(checkpoint, type="EDF") as running:
        assert await order_of(running, requests) == ["late", "fine"]

"""What pods say of themselves, and when that is news."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.operator.control_server import ControlServer

from vajra.control.v1 import control_pb2
from vajra.operator import replicas
from vajra.operator.cache import Key, Pod
from vajra.operator.model import Report, Stage
from vajra.operator.poller import Poller

KEY = Key("default", "llama")


@pytest.fixture
def server() -> Iterator[ControlServer]:
    server = ControlServer()
    server.start()
    yield server
    server.stop()


def pod(server: ControlServer, *, ready: bool = False) -> Pod:
    """The pod in which the server runs."""
    return Pod(KEY, "llama-0-0", "uid", "n1", server.address, ready)


class Polling:
    """A poller at work on some pods; `news` counts the calls that it made."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = list(pods)
        self.news = 0
        self._more = asyncio.Event()
        self.poller = Poller(lambda: self.pods, self._changed)

    async def __aenter__(self) -> Polling:
        self._task = asyncio.create_task(self.poller.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def wait_for_news(self, count: int) -> None:
        """Returns when there has been so much."""
        while self.news < count:
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 60)

    def _changed(self, key: Key) -> None:
        assert key == KEY
        self.news += 1
        self._more.set()


async def asked(server: ControlServer, times: int) -> None:
    """Returns when the server has been asked so often from now."""
    await asyncio.to_thread(server.wait_until_asked, times)


async def test_all_that_a_process_says_is_reported(server: ControlServer) -> None:
    server.status = control_pb2.GetStatusResponse(
        phase=control_pb2.REPLICA_PHASE_STARTING,
        revision="v1:a",
        generation=3,
        workers=[control_pb2.WorkerStatus(restarts=1), control_pb2.WorkerStatus(restarts=2)],
        stages=[control_pb2.StartupStage(name="WeightLoad", seconds=1.5, progress=0.25)],
        running=4,
        waiting=5,
        capacity=control_pb2.Capacity(kv_blocks=6, block_size=16, max_batch_size=7),
        message="loading",
        notices=["a notice"],
        config_refused=True,
    )
    assert await replicas.get_status(server.address, 30.0) == Report(
        phase="Starting",
        revision="v1:a",
        generation=3,
        running=4,
        waiting=5,
        worker_restarts=3,
        kv_blocks=6,
        block_size=16,
        max_batch_size=7,
        stages=(Stage("WeightLoad", 1.5, 0.25),),
        message="loading",
        notices=("a notice",),
        config_refused=True,
    )


async def test_settings_and_drains_reach_the_process(server: ControlServer) -> None:
    await replicas.update_config("llama-0-0", server.address, 7, {"replicas": 2})
    assert (server.update.generation, json.loads(server.update.spec_json)) == (7, {"replicas": 2})
    with pytest.raises(replicas.ControlError, match="UpdateConfig of pod llama-0-0: FAILED_PRECONDITION: older"):
        await replicas.update_config("llama-0-0", server.address, 6, {})
    await replicas.drain("llama-0-0", server.address, 30)
    assert server.drain.grace.seconds == 30


async def test_an_operator_that_starts_knows_the_pods_at_once(server: ControlServer) -> None:
    polling = Polling(pod(server))
    await polling.poller.ask_all()
    report = polling.poller.report("uid")
    assert report is not None
    assert report.phase == "Serving"


async def test_changes_are_news_and_counters_are_not(server: ControlServer) -> None:
    async with Polling(pod(server)) as polling:
        await polling.wait_for_news(1)
        server.status.running = 5
        await asked(server, 2)
        assert polling.news == 1
        server.status.generation = 2
        await polling.wait_for_news(2)
        report = polling.poller.report("uid")
        assert report is not None
        assert (report.running, report.generation) == (5, 2)


async def test_the_end_of_a_drain_is_news(server: ControlServer) -> None:
    async with Polling(pod(server)) as polling:
        await polling.wait_for_news(1)
        server.status.phase = control_pb2.REPLICA_PHASE_DRAINING
        server.status.running = 3
        await polling.wait_for_news(2)
        server.status.running = 0
        await polling.wait_for_news(3)


async def test_a_pod_that_is_silent_for_long_is_forgotten(server: ControlServer) -> None:
    here = pod(server)
    async with Polling(here) as polling:
        await polling.wait_for_news(1)
        polling.pods[:] = [here._replace(address="127.0.0.1")]  # where nothing listens on that port
        await polling.wait_for_news(2)
        assert polling.poller.report("uid") is None


async def test_a_pod_that_serves_is_asked_less_often_unless_something_was_done_to_it(server: ControlServer) -> None:
    async with Polling(pod(server, ready=True)) as polling:
        await polling.wait_for_news(1)
        before = server.asked
        await asyncio.sleep(4.0)  # two of the intervals at which others are asked
        assert server.asked == before
        polling.poller.ask_soon("uid")
        await asked(server, 1)


async def test_a_pod_that_is_gone_is_forgotten(server: ControlServer) -> None:
    async with Polling(pod(server)) as polling:
        await polling.wait_for_news(1)
        polling.pods.clear()
        await asyncio.sleep(2.0)  # several looks at the pods there are
        assert polling.poller.report("uid") is None

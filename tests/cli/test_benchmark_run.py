"""The load generator against a scripted server: what a real one cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from vajra.cli.benchmark.report import write_files, write_plots
from vajra.cli.benchmark.runner import run
from vajra.cli.benchmark.statistics import Report
from vajra.cli.benchmark.target import OpenAITarget
from vajra.cli.benchmark.workload import Workload
from vajra.cli.openai_client import OpenAIClient, ServerError
from vajra.simulator.lengths import Lengths


class ScriptedServer:
    """Streams max_tokens tokens, unless told otherwise; remembers every body and the most requests at once."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.peak = 0
        self.failure = ""
        self.url = ""

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._answer(request, body)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.failure == "busy":
            return web.json_response({"error": {"message": "the queue is full"}}, status=429)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(body["max_tokens"]):
            await asyncio.sleep(0)
            if self.failure == "truncate" and number == 1:
                return response
            if self.failure == "hang" and number == 1:
                await asyncio.sleep(60)
            await self._event(response, {"choices": [{"text": "é ", "finish_reason": None}]})
        await self._event(response, {"choices": [{"text": "", "finish_reason": "length"}]})
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
        await self._event(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _event(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        data = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        await response.write(data[:9])  # an event, and a character, may come in pieces
        await response.write(data[9:])


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    app = web.Application()
    app.router.add_post("/v1/completions", scripted.completions)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


def workload(count: int = 12, **options: Any) -> Workload:
    return Workload(
        num_requests=count,
        prompt_lengths=Lengths.parse("uniform:2:9"),
        output_lengths=Lengths.parse("uniform:2:5"),
        **options,
    )


async def test_every_request_is_sent_once_and_counted(server: ScriptedServer, tmp_path: Path) -> None:
    requests = workload(rate=500.0).requests()
    async with OpenAIClient(server.url) as client:
        records, duration = await run(OpenAITarget(client, "m", extra={"top_k": 1}), requests)
    report = Report.of(records, duration)
    assert report.errors == {}
    assert report.completed == 12
    assert report.output_tokens == sum(r.max_tokens for r in requests)
    assert report.prompt_tokens == sum(r.prompt_tokens for r in requests)
    assert sorted(tuple(b["prompt"]) for b in server.bodies) == sorted(r.prompt for r in requests)
    assert all(b["ignore_eos"] and b["min_tokens"] == b["max_tokens"] and b["top_k"] == 1 for b in server.bodies)
    assert [len(r.token_times) for r in records] == [r.max_tokens for r in requests]
    result, lines = write_files(tmp_path, report, records, {"seed": 0})
    assert json.loads(result.read_text())["result"]["completed"] == 12
    assert len(lines.read_text().splitlines()) == 12
    for path in write_plots(tmp_path, records):
        assert path.read_bytes().startswith(b"\x89PNG")


async def test_concurrency_is_a_limit(server: ScriptedServer) -> None:
    async with OpenAIClient(server.url) as client:
        await run(OpenAITarget(client, "m"), workload().requests(), concurrency=3)
    assert server.peak == 3
    assert len(server.bodies) == 12


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("busy", "HTTP 429: the queue is full"),
        ("truncate", "the stream ended without a finish_reason"),
        ("hang", "timed out after 0.2 s"),
    ],
)
async def test_failures_are_named(server: ScriptedServer, failure: str, reason: str) -> None:
    server.failure = failure
    async with OpenAIClient(server.url) as client:
        records, duration = await run(OpenAITarget(client, "m"), workload(3).requests(), time_limit=0.2)
    assert Report.of(records, duration).errors == {reason: 3}


async def test_an_unreachable_server_is_an_error_with_its_address(unused_tcp_port: int) -> None:
    async with OpenAIClient(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(ServerError, match=f"cannot connect to http://127.0.0.1:{unused_tcp_port}/v1"):
            await client.models()


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ServerError, match="http://127"):
        OpenAIClient("localhost:8000")

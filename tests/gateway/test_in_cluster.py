"""Gateways and replicas as pods: whatever happens to one of them, no request fails and no token changes."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.harness import MODEL, manifest
from tests.gateway.pods import Client, Gateway, GrpcTraffic, Pod, Pods, Service, Traffic, can_change_names
from tests.midstream import hit

from vajra.control.v1 import control_pb2
from vajra.metrics import GATEWAY_METRICS

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
QUICK = {"drain": {"endpointGraceSeconds": 1, "timeoutSeconds": 60}}


async def undisturbed(gateway: Gateway, max_tokens: int = 400) -> dict[int, list[int]]:
    """Tokens by seed."""
    client = Client(gateway.grpc)
    answers = await asyncio.gather(*(client.generate(seed, max_tokens) for seed in range(6)))
    await client.channel.close(None)
    return dict(enumerate(tokens for tokens, _ in answers))


async def until_used(pod: Pod) -> None:
    """Waits until it has been given work."""
    await pod.until(lambda status: status.running > 0)


async def test_no_fate_of_a_replica_is_seen_by_a_client(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint, **QUICK), tmp_path) as pods:
        first, second = await pods.replica(A), await pods.replica(B)
        gateway = await pods.gateway(A, B)
        await asyncio.gather(first.until_serving(), second.until_serving(), gateway.until_serving())
        expected = await undisturbed(gateway)
        async with GrpcTraffic(gateway.grpc, expected) as traffic:
            await asyncio.gather(until_used(first), until_used(second))
            first.process.send_signal(signal.SIGTERM)
            assert await first.process.wait() == 0
            await traffic.answers(6)
            assert traffic.failovers == 0, "it had time to finish"
            first = await pods.replica(A)
            await until_used(first)
            second.process.kill()
            await traffic.answers(6)
            second = await pods.replica(B)
            await until_used(second)
            for pod in (first, second):
                pod.process.kill()
                await pod.process.wait()
            await gateway.until(lambda status: status.waiting == 6 and "no replica serves" in status.message)
            assert await gateway.healthy(""), "requests are answered, be it later"
            await until_used(await pods.replica(B))
            await traffic.answers(6)
            hit(traffic.failovers)


async def test_no_departure_of_a_gateway_is_seen_by_a_client(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint, **QUICK), tmp_path) as pods:
        await asyncio.gather(pods.replica(A), pods.replica(B))
        gateways = [await pods.gateway(A, B), await pods.gateway(A, B)]
        await asyncio.gather(*(gateway.until_serving() for gateway in gateways))
        expected = await undisturbed(gateways[0], 100)
        async with (
            Service(gateways, "grpc") as grpc_address,
            Service(gateways, "http") as http_address,
            openai.AsyncOpenAI(base_url=f"http://{http_address}/v1", api_key="none", max_retries=0) as client,
        ):

            async def ask(seed: int) -> str:
                text = f"prompt {seed}"
                answer = await client.completions.create(model=MODEL, prompt=text, max_tokens=50, seed=seed)
                return answer.choices[0].text

            texts = {seed: await ask(seed) for seed in range(4)}
            async with GrpcTraffic(grpc_address, expected) as traffic, Traffic([ask] * 3, texts) as http_traffic:
                for i in (0, 1):
                    await until_used(gateways[i])
                    gateways[i].process.send_signal(signal.SIGTERM)
                    assert await gateways[i].process.wait() == 0
                    await asyncio.gather(traffic.answers(6), http_traffic.answers(6))
                    gateways[i] = await pods.gateway(A, B)
                    await gateways[i].until_serving()
                assert traffic.failovers == 0


async def test_a_gateway_that_leaves_answers_and_sends_away(checkpoint: Path, tmp_path: Path) -> None:
    def post(address: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(address, timeout=60)
        body = {"prompt": "x", "max_tokens": 4, "ignore_eos": True}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        with closing(connection), connection.getresponse() as response:
            response.read()
            return response

    async with Pods(manifest(checkpoint, drain={"endpointGraceSeconds": 60}), tmp_path) as pods:
        await pods.replica(A)
        gateway, other = await pods.gateway(A), await pods.gateway(A)
        await asyncio.gather(gateway.until_serving(), other.until_serving())
        await gateway.control.Drain(control_pb2.DrainRequest())
        assert (await gateway.status()).phase == control_pb2.REPLICA_PHASE_DRAINING
        await gateway.until_healthy("", well=False)
        assert await gateway.healthy("liveness")
        leaving, staying = await asyncio.gather(
            *(asyncio.to_thread(post, address) for address in (gateway.http, other.http))
        )
        assert (leaving.status, leaving.headers["Connection"]) == (200, "close")
        assert (staying.status, staying.headers["Connection"]) == (200, None)
        client = Client(gateway.grpc)
        assert len((await client.generate(0, 4))[0]) == 4
        await client.channel.close(None)
        for _ in range(2):  # the second one means now
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
        assert await gateway.process.wait() == 128 + signal.SIGTERM


async def test_a_replica_whose_time_is_up_hands_over(checkpoint: Path, tmp_path: Path) -> None:
    at_once = {"drain": {"endpointGraceSeconds": 0, "timeoutSeconds": 0}}
    async with Pods(manifest(checkpoint, **at_once), tmp_path) as pods:
        first, second = await pods.replica(A), await pods.replica(B)
        gateway = await pods.gateway(A, B)
        await asyncio.gather(first.until_serving(), second.until_serving())
        expected = await undisturbed(gateway)
        async with GrpcTraffic(gateway.grpc, expected) as traffic:
            await until_used(first)
            first.process.send_signal(signal.SIGTERM)
            assert await first.process.wait() == 0
            await traffic.answers(6)
            first = await pods.replica(A)
            await until_used(first)
            await second.control.Drain(control_pb2.DrainRequest())
            await second.until(lambda status: status.running + status.waiting == 0)
            assert (await second.status()).phase == control_pb2.REPLICA_PHASE_DRAINING
            await traffic.answers(6)
            assert (await second.status()).running == 0, "nothing new goes there"
            hit(traffic.failovers)


async def test_a_resume_on_other_bits_is_the_last_resort_and_said(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint), tmp_path) as pods:
        same, other = [await pods.replica(A), await pods.replica(B)], await pods.replica(C, VAJRA_ISA="scalar")
        gateway = await pods.gateway(A, B, C)
        await asyncio.gather(*(pod.until_serving() for pod in (*same, other)))
        assert (await same[0].status()).fingerprint != (await other.status()).fingerprint
        client = Client(gateway.grpc)

        async def moved() -> list[bool]:
            """Kills one of the same after the other; whether those that it had went on inexactly."""
            requests = [asyncio.create_task(client.generate(seed, 1500)) for seed in range(9)]
            pod = same.pop()
            steps = (await pod.status()).workers[0].steps
            await pod.until(lambda status: status.workers[0].steps > steps + 200)  # all have tokens
            pod.process.kill()
            usages = [usage for _, usage in await asyncio.gather(*requests)]
            hit(sum(usage.failovers for usage in usages))
            return [usage.inexact for usage in usages if usage.failovers]

        assert set(await moved()) == {False}
        assert set(await moved()) == {True}
        await client.channel.close(None)


async def test_without_a_replica_requests_wait_and_status_says_why(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint), tmp_path) as pods:
        gateway = await pods.gateway(A)
        missing = f"no replica serves: {A}:{pods.port} is "
        status = await gateway.until(lambda status: missing in status.message)
        assert (status.phase, status.revision) == (control_pb2.REPLICA_PHASE_STARTING, "r1")
        await gateway.until_healthy("startup")
        health = {service: await gateway.healthy(service) for service in ("startup", "", "liveness")}
        assert health == {"startup": True, "": False, "liveness": True}
        client = Client(gateway.grpc)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.generate(0, 4, seconds=0.5)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        waiting = asyncio.create_task(client.generate(0, 4))
        await gateway.until(lambda status: status.waiting == 1)
        await pods.replica(A)
        assert len((await waiting)[0]) == 4
        await gateway.until_healthy("")
        assert (await gateway.status()).message == ""
        await client.channel.close(None)


async def test_a_gateway_is_scraped_at_a_port_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    async with Pods(manifest(checkpoint), tmp_path) as pods:
        gateway, replica = await pods.gateway(A), await pods.replica(A)
        await asyncio.gather(replica.until_serving(), gateway.until_serving())
        with await asyncio.to_thread(urllib.request.urlopen, gateway.metrics, timeout=60) as response:
            families = {each.name: each for each in text_string_to_metric_families(response.read().decode())}
    assert set(families) == {metric.name.removesuffix("_total") for metric in GATEWAY_METRICS}
    for metric in GATEWAY_METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.type.value
        assert all(set(sample.labels) - {"le"} == set(metric.labels) for sample in family.samples), metric.name


async def test_a_gateway_takes_live_settings_over_or_refuses_by_name(checkpoint: Path, tmp_path: Path) -> None:
    def changed(**spec: Any) -> dict[str, Any]:
        return manifest(checkpoint, **spec)

    async with Pods(manifest(checkpoint), tmp_path) as pods:
        gateway = await pods.gateway(A)
        assert await gateway.update(3, changed(tokenizerWorkers=1, drain={"timeoutSeconds": 7})) == 3
        assert await gateway.update(4, changed(tokenizerWorkers=1, drain={"timeoutSeconds": 7})) == 4
        assert (await gateway.status()).generation == 4
        for generation, spec, words in (
            (3, {"tokenizerWorkers": 2}, "generation 3 is older than 4"),
            (5, {"metrics": {"mode": "Enabled"}}, r"spec\.metrics\.mode"),
            (5, {"cache": {"blockSize": 64}}, r"spec\.cache\.blockSize"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=words) as error:
                await gateway.update(generation, changed(**spec))
            assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.skipif(not can_change_names(), reason="names of its own take root and a mount namespace")
async def test_replicas_are_found_and_forgotten_by_name(checkpoint: Path, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"

    def name(*addresses: str) -> None:
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} leaders\n" for address in addresses))

    name()
    async with Pods(manifest(checkpoint), tmp_path) as pods:
        gateway = await pods.gateway("leaders", hosts_file=hosts)
        await gateway.until(lambda status: "leaders: Name or service not known" in status.message)
        first, second = await pods.replica(A), await pods.replica(B)
        await asyncio.gather(first.until_serving(), second.until_serving())
        name(A)
        await gateway.until_serving()
        expected = await undisturbed(gateway)
        async with GrpcTraffic(gateway.grpc, expected) as traffic:
            name(A, B)
            await until_used(second)
            name(B)
            await traffic.answers(6)
            await until_used(first)  # its stream lives
            name(A, B, C)  # nobody is at C
            first.process.kill()
            await traffic.answers(6)
            name(B)
            await traffic.answers(6)
        name()
        second.process.kill()
        await gateway.until(lambda status: "Name or service not known" in status.message)

"""Stands for kubelets and for what runs in pods: `KUBECONFIG=… python -m bench.scale.fleet NAMESPACE`.

Every pod gets an address that is routed to this machine, which takes root; it is ready after some seconds, and its
process answers control.v1 there: it serves, and acknowledges the live settings that it is sent. So the operator polls,
pushes and judges as it does with real pods.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from typing import Any

import grpc
from bench.scale.api import Api, connect
from tests.cluster.operated import serving

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.operator.kinds import LABEL, POD
from vajra.operator.planning.names import CONTROL_PORT

# Of test networks, and beyond those that a cluster with nodes takes. No loopback: Services refuse it as an endpoint.
ADDRESSES = ip_network("198.18.192.0/18")


class Processes(control_pb2_grpc.ReplicaControlServiceServicer):
    """control.v1 of all pods: one server, which knows them by the address that was called."""

    def __init__(self) -> None:
        self._generations: dict[str, int] = defaultdict(lambda: 1)

    def GetStatus(
        self, request: control_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> control_pb2.GetStatusResponse:
        status = control_pb2.GetStatusResponse(
            phase=control_pb2.REPLICA_PHASE_SERVING, generation=self._generations[_called(context)]
        )
        status.workers.add(steps=1)
        status.stages.add(name="ProcessStart", seconds=1, progress=1)
        status.capacity.kv_blocks, status.capacity.block_size = 1024, 16
        return status

    def UpdateConfig(
        self, request: control_pb2.UpdateConfigRequest, context: grpc.ServicerContext
    ) -> control_pb2.UpdateConfigResponse:
        self._generations[_called(context)] = request.generation
        return control_pb2.UpdateConfigResponse(generation=request.generation)

    def Drain(self, request: control_pb2.DrainRequest, context: grpc.ServicerContext) -> control_pb2.DrainResponse:
        return control_pb2.DrainResponse()


def _called(context: Any) -> str:
    """The host of a call, as its client wrote it. grpc tells it to nobody else."""
    host: bytes = context._rpc_event.call_details.host
    return host.decode().rpartition(":")[0]


@contextmanager
def routed() -> Iterator[None]:
    """All of ADDRESSES are this machine's."""
    route = ["local", str(ADDRESSES), "dev", "lo"]
    subprocess.run(["ip", "route", "replace", *route], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "delete", *route], check=True)


async def run_pods(api: Api, namespace: str, startup_seconds: float) -> None:
    """Makes every pod ready that appears."""
    addresses = map(str, ADDRESSES.hosts())
    seen: set[str] = set()
    limit = asyncio.Semaphore(16)

    async def start(pod: str, address: str) -> None:
        await asyncio.sleep(startup_seconds)
        async with limit:
            at = {"podIP": address, "podIPs": [{"ip": address}]}
            await api.patch(POD, namespace, pod, {"status": serving()["status"] | at}, "status")

    async with asyncio.TaskGroup() as tasks:
        async for pod in api.watch(POD, namespace, LABEL):
            uid = pod["metadata"]["uid"]
            if uid not in seen:
                seen.add(uid)
                tasks.create_task(start(pod["metadata"]["name"], next(addresses)))


async def _run(namespace: str, startup_seconds: float) -> None:
    async with connect() as api:
        await run_pods(api, namespace, startup_seconds)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.scale.fleet", description=__doc__)
    options.add_argument("namespace")
    options.add_argument("--startup-seconds", type=float, default=5, help="from creation to ready [%(default)s]")
    arguments = options.parse_args()
    server = grpc.server(ThreadPoolExecutor(8))
    control_pb2_grpc.add_ReplicaControlServiceServicer_to_server(Processes(), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"0.0.0.0:{CONTROL_PORT}")
    server.start()
    with routed(), suppress(KeyboardInterrupt):
        asyncio.run(_run(arguments.namespace, arguments.startup_seconds))


if __name__ == "__main__":
    main()

"""The gRPC server of one replica: dispatch, control, health; and its life from start to drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from vajra.control.v1 import control_pb2, control_pb2_grpc
from vajra.dispatch.v1 import dispatch_pb2, dispatch_pb2_grpc
from vajra.replica.control import ReplicaControlService
from vajra.replica.controller import LLMBaseReplicaController
from vajra.replica.dispatch import DispatchService
from vajra.replica.phase import Phase

log = logging.getLogger(__name__)

DISPATCH_SERVICE = dispatch_pb2.DESCRIPTOR.services_by_name["DispatchService"].full_name
CONTROL_SERVICE = control_pb2.DESCRIPTOR.services_by_name["ReplicaControlService"].full_name
EXIT_REFUSED = 2  # it does not serve such a configuration
EXIT_FAILED = 3  # its worker cannot be kept alive, or the model not be loaded
_TERMINATION_LOG = Path("/dev/termination-log")  # is there where a kubelet reads it
_LAST_WORDS_SECONDS = 10.0  # for streams that have just ended to be read, on a busy machine too
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # gateways ping every 10 s, give or take
    ("grpc.so_reuseport", 0),  # a second replica on the same port is a mistake, not load balancing
)


async def serve(
    controller: LLMBaseReplicaController, listen: str, *, interactive: bool, failed_seconds: float, in_cluster: bool
) -> int:
    """Serves on `listen` ("host:port" or "unix:/path") until SIGTERM, then drains; `interactive`: until SIGINT too,
    which is a parent's business otherwise; `in_cluster`: it first waits for its callers to hear that it goes. A replica
    that has failed says so for `failed_seconds`, in its status and, unless a parent reads that and tells it on, in its
    log; then it exits. Returns the exit status: 0, 1 when it cannot listen, EXIT_REFUSED, EXIT_FAILED."""
    signals = (signal.SIGTERM, signal.SIGINT) if interactive else (signal.SIGTERM,)
    server = grpc.aio.server(options=_OPTIONS)
    health_servicer = HealthServicer()
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(DispatchService(controller), server)  # type: ignore[no-untyped-call]
    control = ReplicaControlService(controller)
    control_pb2_grpc.add_ReplicaControlServiceServicer_to_server(control, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    await _publish_health(health_servicer, controller)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        log.error("cannot listen on %s: %s", listen, error)
        await controller.stop()
        return 1
    await server.start()
    address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    print(f"listening on {address}", flush=True)
    await controller.start()
    follower = asyncio.create_task(_follow_health(health_servicer, controller))
    failure = asyncio.create_task(_exit_when_failed(controller, failed_seconds, stop, log_it=interactive))
    await stop.wait()
    now = asyncio.Event()  # a second signal means now
    for number in signals:
        loop.add_signal_handler(number, now.set)
    await _drain(controller, now, in_cluster=in_cluster)
    failure.cancel()
    follower.cancel()
    controller.room_streams.end()
    await server.stop(_LAST_WORDS_SECONDS)
    await controller.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await follower
    if controller.phase is Phase.FAILED:
        if in_cluster:
            _leave_word(controller.message)
        return EXIT_REFUSED if controller.refuses else EXIT_FAILED
    return 0


def _leave_word(message: str) -> None:
    """Without it, the end of the log would stand in the pod's status as the reason of its end."""
    with contextlib.suppress(OSError), _TERMINATION_LOG.open("r+") as file:
        file.write(message)


async def _drain(controller: LLMBaseReplicaController, now: asyncio.Event, *, in_cluster: bool) -> None:
    """Until nothing is left: at the latest after the deployment's drain.timeoutSeconds, or when `now` is set."""
    drain = controller.deployment.spec.drain
    if in_cluster and controller.phase in (Phase.SERVING, Phase.RECOVERING):  # else nobody counts on it
        controller.retire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), drain.endpoint_grace_seconds)
    in_flight = controller.drain(float(drain.timeout_seconds))
    log.info("draining: %d sequences in flight, at most %d s", in_flight, drain.timeout_seconds)
    idle, hurry = asyncio.create_task(controller.wait_idle()), asyncio.create_task(now.wait())
    await asyncio.wait({idle, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if now.is_set():
        controller.drain(0.0)
    hurry.cancel()
    await idle


async def _exit_when_failed(
    controller: LLMBaseReplicaController, seconds: float, stop: asyncio.Event, *, log_it: bool
) -> None:
    """Whoever supervises has so long to read the reason from the status; the exit status tells those who do not ask."""
    while True:
        changed = controller.phase_changed.next
        if controller.phase is Phase.FAILED:
            break
        await changed.wait()
    if log_it:
        log.error("failed: %s", controller.message)
    await asyncio.sleep(seconds)
    stop.set()


async def _follow_health(servicer: HealthServicer, controller: LLMBaseReplicaController) -> None:
    while True:
        changed = controller.phase_changed.next
        await _publish_health(servicer, controller)
        await changed.wait()


async def _publish_health(servicer: HealthServicer, controller: LLMBaseReplicaController) -> None:
    """Overall and dispatch: it takes sequences now. startup: it has loaded once. liveness and control: it answers."""
    serving = controller.phase is Phase.SERVING
    started = controller.model is not None
    for service, well in {
        "": serving,
        DISPATCH_SERVICE: serving,
        "startup": started,
        "liveness": True,
        CONTROL_SERVICE: True,
    }.items():
        status = health_pb2.HealthCheckResponse.SERVING if well else health_pb2.HealthCheckResponse.NOT_SERVING
        await servicer.set(service, status)

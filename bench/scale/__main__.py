"""The operator with hundreds of VajraDeployments on a real API server of this machine.

Nobody runs pods: a stand-in makes each ready after some seconds and answers for its process (bench/scale/fleet.py). All
else is real. Writes are counted from the API server's own audit log. It needs root, for the pods' addresses.

    python -m bench.scale                      # 200, then 1,000; -o json for JSON
    python -m bench.scale --sizes 50
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.scale.api import Api, connect
from bench.scale.audit import Audit
from bench.scale.figures import Converged, Figures, latencies, rest, seconds_of
from tests.cluster import binaries, local, operator_install, operator_process
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operated import DEPLOYMENT
from tests.cluster.operator_process import OperatorProcess

from vajra.operator.kinds import VAJRA_DEPLOYMENT

NAMESPACE = "default"
CHANGES = 100
CHANGE_SECONDS = 0.5  # between two of them
RESYNC_SECONDS = 30
AUDIT_SECONDS = 3  # until a write is in the log


def name(index: int) -> str:
    return f"llama-{index:04}"


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def create(api: Api, count: int) -> None:
    """Makes VajraDeployments, eight at a time, as a person's script would."""
    limit = asyncio.Semaphore(8)

    async def one(index: int) -> None:
        async with limit:
            await api.create(VAJRA_DEPLOYMENT, NAMESPACE, {**DEPLOYMENT, "metadata": {"name": name(index)}})

    await asyncio.gather(*(one(index) for index in range(count)))


async def all_ready(api: Api, count: int) -> None:
    """Returns when all are Ready as they are."""
    ready: set[str] = set()
    told = 0.0
    async for found in api.watch(VAJRA_DEPLOYMENT, NAMESPACE):
        metadata, status = found["metadata"], found.get("status", {})
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        is_ready = conditions.get("Ready") == "True" and status["observedGeneration"] == metadata["generation"]
        (ready.add if is_ready else ready.discard)(metadata["name"])
        if len(ready) == count:
            return
        if time.monotonic() > told + 10:
            told = time.monotonic()
            tell(f"{len(ready)} of {count} are Ready")


async def converge(count: int) -> float:
    """Seconds from the first creation until all are Ready."""
    async with connect() as api:
        started = time.monotonic()
        watching = asyncio.create_task(all_ready(api, count))
        await create(api, count)
        tell(f"{count} are created")
        await watching
        return time.monotonic() - started


async def change(count: int) -> None:
    """Scales VajraDeployments by one, one after the other, and waits until all are Ready again."""
    async with connect() as api:
        for index in range(min(CHANGES, count)):
            await api.patch(VAJRA_DEPLOYMENT, NAMESPACE, name(index), {"spec": {"replicas": 2}})
            await asyncio.sleep(CHANGE_SECONDS)
        await all_ready(api, count)


def passes(operator: OperatorProcess) -> float:
    return operator.metric("controller_runtime_reconcile_total")


@contextmanager
def planes(audit: Audit) -> Iterator[ControlPlane]:
    """A control plane that writes an audit log, with the definition of VajraDeployments."""
    with local.running_api(binaries.build(), api_server=audit.flags) as plane:
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        operator_install.define(plane.kubectl)
        yield plane


@contextmanager
def fleet() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "bench.scale.fleet", NAMESPACE])
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # for its routes to go
        process.wait()


def measure(count: int, folder: Path) -> Figures:
    """One size, in an empty folder."""
    audit = Audit(folder)
    with planes(audit) as plane, fleet():
        with operator_process.running(plane.kubeconfig, NAMESPACE, folder, "--no-leader-elect") as operator:
            operator.wait_until_leading()
            seconds = asyncio.run(converge(count))
            rest(lambda: passes(operator))
            converged = Converged.of(seconds, count, audit, operator)
            tell(f"converged in {seconds:.0f} s")
            before = time.time()
            asyncio.run(change(count))
            rest(lambda: passes(operator))
            tell(f"{min(CHANGES, count)} are scaled")
            reactions = latencies(audit.writes(before))
            own, whole = (
                seconds_of(operator, "vajra_operator_own_time_seconds"),
                seconds_of(operator, "controller_runtime_reconcile_time_seconds"),
            )
        started = time.time()
        again = ["--no-leader-elect", f"--resync-seconds={RESYNC_SECONDS}"]
        with operator_process.running(plane.kubeconfig, NAMESPACE, folder, *again) as operator:
            operator.wait_until_leading()
            while passes(operator) < count:
                time.sleep(0.1)
            restart_seconds = time.time() - started
            while passes(operator) < 3 * count:
                time.sleep(0.5)
            time.sleep(AUDIT_SECONDS)
            writes = sum(number for kind, number in audit.counts(started).items() if kind != "lease")
        return Figures(count, converged, own, whole, reactions, restart_seconds, writes)


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--sizes", default="200,1000", help="numbers of VajraDeployments [%(default)s]")
    options.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    arguments = options.parse_args()
    found = []
    for size in arguments.sizes.split(","):
        tell(f"{size} VajraDeployments")
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(int(size), Path(folder)))
    if arguments.output == "json":
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print("\n".join(Figures.table(found)))


if __name__ == "__main__":
    main()

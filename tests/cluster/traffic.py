"""Clients that ask a VajraDeployment all the time, as a pod, and what has become of their requests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.images import CLIENT
from tests.cluster.kubectl import Kubectl
from tests.cluster.manifests import pod
from tests.cluster.waiting import eventually

_PROGRAM = Path(__file__).with_name("client_program.py")
_CLIENTS = 5
_AFTER_SECONDS = 200  # for requests under way at the end: two tries may wait for a node that is gone


@dataclass(frozen=True)
class Request:
    """One line of `client_program`."""

    client: str
    at: float
    seconds: float
    outcome: str
    error: str


@dataclass
class Counts:
    """The requests of a while; empty until it is over."""

    requests: Sequence[Request] = ()

    def of(self, *outcomes: str) -> list[Request]:
        """Those that became one of these."""
        return [request for request in self.requests if request.outcome in outcomes]

    @property
    def longest(self) -> float:
        """Seconds that the slowest took."""
        return max(request.seconds for request in self.requests)

    def __str__(self) -> str:
        outcomes = Counter(request.outcome for request in self.requests)
        told = ", ".join(f"{outcomes[each]} {each}" for each in ("answered", "failed", "lost", "different"))
        return f"{len(self.requests)} requests: {told}; the slowest took {self.longest:.1f} s"


class Traffic:
    """The clients in a pod of their own, which asks as long as it lives."""

    def __init__(self, kubectl: Kubectl, name: str = "clients") -> None:
        self._kubectl = kubectl
        self._name = name

    def start(self, deployment: str, model: str, node: str, keys: tuple[str, str]) -> None:
        """Starts them on a node; returns when each has an answer. keys: for gRPC and for OpenAI's API."""
        program = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name},
            "data": {_PROGRAM.name: _PROGRAM.read_text()},
        }
        addresses = (f"{deployment}:8471", f"http://{deployment}:8000/v1")
        command = ("python", f"/program/{_PROGRAM.name}", *addresses, model, *keys)
        mount = {"volumeMounts": [{"name": "program", "mountPath": "/program"}]}
        volumes = [{"name": "program", "configMap": {"name": self._name}}]
        self._kubectl.apply(
            program, pod(self._name, *command, image=CLIENT, container=mount, volumes=volumes, nodeName=node)
        )
        self._kubectl.wait("condition=Ready", f"pod/{self._name}")
        self._wait_for_answers(since=0)

    @contextmanager
    def during(self) -> Iterator[Counts]:
        """Counts what is asked inside, and until each client had an answer that it asked for afterwards."""
        counts = Counts()
        before = self.requests()
        yield counts
        done = self._wait_for_answers(since=_now(self.requests()))
        counts.requests = done[len(before) :]

    def requests(self) -> list[Request]:
        """All so far, in the order of their ends."""
        log = self._kubectl("logs", self._name)
        return [Request(**json.loads(line)) for line in log.splitlines()]

    def _wait_for_answers(self, since: float) -> list[Request]:
        """Until every client has an answer to what it asked after that time."""

        def check() -> list[Request]:
            requests = self.requests()
            late = {each.client for each in requests if each.at >= since and each.outcome == "answered"}
            assert len(late) == _CLIENTS, f"only {sorted(late)} have an answer; {requests[-1:]}"
            return requests

        return eventually(check, seconds=_AFTER_SECONDS, interval=0.5)


def _now(requests: Sequence[Request]) -> float:
    """The clients' clock, as far as their last answer tells."""
    return max(request.at + request.seconds for request in requests)

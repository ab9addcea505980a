"""What replicas and gateways are doing now, from the gateways' metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vajra.cli.kubectl.views.pods import gateways, replicas
from vajra.operator.model import Manifest
from vajra.operator.planning import names

_PORTS: Final = ("metrics", "openai")  # names of ports that serve metrics; earlier operators gave gateways no first one
_TOKENS: Final = ("vajra_time_to_first_token_seconds_count", "vajra_inter_token_latency_seconds_count")


@dataclass(frozen=True)
class ReplicaLoad:
    """A replica. state: of its leader; the numbers are None where no gateway has said them."""

    replica: int
    pod: str
    node: str
    state: str
    running: int | None
    waiting: int | None
    kv_blocks_used: int | None
    kv_blocks: int | None


@dataclass(frozen=True)
class GatewayLoad:
    """A gateway. running and waiting: sequences that a replica has, and that wait for one. Rates are per second."""

    pod: str
    node: str
    running: int | None
    waiting: int | None
    requests_rate: float | None
    tokens_rate: float | None


@dataclass(frozen=True)
class TopView:
    """Everything. notes: what cannot be shown, and why."""

    name: str
    namespace: str
    replicas: tuple[ReplicaLoad, ...]
    gateways: tuple[GatewayLoad, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Scrape:
    """What a gateway's metrics were at a time, in seconds: by the name of a sample and its labels."""

    time: float
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def sum(self, name: str) -> float:
        """The sum of a sample over its labels."""
        return sum(value for (sample, _), value in self.samples.items() if sample == name)


def parse_scrape(text: str, time: float) -> Scrape:
    """Reads the text of a scrape."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Scrape(time, samples)


def metrics_port(pod: Manifest) -> int | None:
    """The port where a gateway's pod serves metrics over HTTP; None where it does not."""
    ports = {
        port.get("name"): int(port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }
    return next((ports[name] for name in _PORTS if name in ports), None)


def scrapable(pods: Iterable[Manifest]) -> dict[str, int]:
    """The gateways that can be asked: their ports by their names."""
    running = (pod for pod in _gateway_pods(pods) if pod.get("status", {}).get("phase") == "Running")
    ports = {pod["metadata"]["name"]: metrics_port(pod) for pod in running}
    return {name: port for name, port in ports.items() if port is not None}


def top_view(
    deployment: Manifest, pods: Iterable[Manifest], before: Mapping[str, Scrape], now: Mapping[str, Scrape]
) -> TopView:
    """What they are doing. before, now: scrapes by gateway; rates need both."""
    pods, meta = list(pods), deployment["metadata"]
    found = gateways(pods)
    loads = tuple(
        GatewayLoad(
            pod=pod.name,
            node=pod.node,
            running=_whole(now.get(pod.name), "vajra_running_sequences"),
            waiting=_whole(now.get(pod.name), "vajra_queue_depth"),
            requests_rate=_rate(before.get(pod.name), now.get(pod.name), ("vajra_requests_total",)),
            tokens_rate=_rate(before.get(pod.name), now.get(pod.name), _TOKENS),
        )
        for pod in found
    )
    return TopView(
        name=meta["name"],
        namespace=meta["namespace"],
        replicas=tuple(_replicas(pods, deployment, list(now.values()))),
        gateways=loads,
        notes=tuple(_notes(pods, loads)),
    )


def _replicas(pods: Sequence[Manifest], deployment: Manifest, scrapes: Sequence[Scrape]) -> Iterable[ReplicaLoad]:
    """Every gateway asks every replica; the first that has an answer is taken."""
    for group in replicas(pods, deployment.get("status", {})):
        leader = group.pods[0]
        numbers = next((found for scrape in scrapes if (found := _numbers(scrape, leader.address))), {})
        yield ReplicaLoad(
            replica=group.replica,
            pod=leader.name,
            node=leader.node,
            state=leader.phase,
            running=numbers.get("vajra_replica_running_sequences"),
            waiting=numbers.get("vajra_replica_waiting_sequences"),
            kv_blocks_used=numbers.get("vajra_kv_blocks_used"),
            kv_blocks=numbers.get("vajra_kv_blocks"),
        )


def _numbers(scrape: Scrape, address: str) -> dict[str, int]:
    """What a gateway says of the replica at an address; empty when it had no answer from there."""
    found = {
        name: int(value)
        for (name, labels), value in scrape.samples.items()
        if address and dict(labels).get("replica", "").rpartition(":")[0].strip("[]") == address
    }
    return found if found.get("vajra_kv_blocks") else {}


def _notes(pods: Sequence[Manifest], loads: Sequence[GatewayLoad]) -> Iterable[str]:
    if not loads:
        yield "there are no gateways, and only they tell what replicas do: see `kubectl vajra why`"
    elif all(metrics_port(pod) is None for pod in _gateway_pods(pods)):
        yield "no gateway serves metrics: an earlier operator has made them, and those of the next revision will"
    elif silent := [load.pod for load in loads if load.running is None]:
        yield f"these did not answer: {', '.join(silent)}"


def _gateway_pods(pods: Iterable[Manifest]) -> list[Manifest]:
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get(names.ROLE) == names.GATEWAY]


def _whole(scrape: Scrape | None, name: str) -> int | None:
    return None if scrape is None else int(scrape.sum(name))


def _rate(before: Scrape | None, now: Scrape | None, counters: Sequence[str]) -> float | None:
    """None without two scrapes of the same process."""
    if before is None or now is None or now.time <= before.time:
        return None
    more = sum(now.sum(counter) - before.sum(counter) for counter in counters)
    return more / (now.time - before.time) if more >= 0 else None

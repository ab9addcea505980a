"""The Services: one for clients, and the names under which gateways and ranks find the replicas' pods."""

from __future__ import annotations

from typing import Any

from vajra.config.spec.cluster import NetworkingSection
from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner


def client_service(owner: Owner, networking: NetworkingSection) -> dict[str, Any]:
    """Where clients call: the gateways."""
    ports = [_port("grpc", networking.grpc_port, "kubernetes.io/h2c")]
    if networking.open_ai_port is not None:
        ports.append(_port("openai", networking.open_ai_port, "http"))
    selector = names.component_selector(owner.name, names.GATEWAY)
    return _service(owner, owner.name, names.GATEWAY, {"type": "ClusterIP", "selector": selector, "ports": ports})


def leader_service(owner: Owner) -> dict[str, Any]:
    """Where gateways find replicas, also those that are not ready: their links tell more than DNS."""
    selector = {names.DEPLOYMENT: owner.name, names.ROLE: names.LEADER}
    return _headless(owner, names.leaders(owner.name), selector)


def rank_service(owner: Owner) -> dict[str, Any]:
    """Gives every pod of a replica a name; ranks meet before they are ready."""
    selector = names.component_selector(owner.name, names.REPLICA_COMPONENT)
    return _headless(owner, names.ranks(owner.name), selector)


def _headless(owner: Owner, name: str, selector: dict[str, str]) -> dict[str, Any]:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": selector,
        "ports": [_port("control", names.CONTROL_PORT, "kubernetes.io/h2c")],
    }
    return _service(owner, name, names.REPLICA_COMPONENT, spec)


def _service(owner: Owner, name: str, component: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": owner.metadata(name, component), "spec": spec}


def _port(name: str, port: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": port, "protocol": "TCP", "appProtocol": protocol}

"""NetworkPolicies: who may reach a replica's pods, and whom they may reach."""

from __future__ import annotations

from typing import Any

from vajra.operator.planning import names
from vajra.operator.planning.objects.owner import Owner


def replica_policy(owner: Owner, operator_namespace: str, *, needs_hub: bool) -> dict[str, Any]:
    """Gateways and the operator may call the control port; pods may ask DNS, and the model hub if there is one."""
    gateways = {"podSelector": {"matchLabels": names.component_selector(owner.name, names.GATEWAY)}}
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}}
    control = {"protocol": "TCP", "port": names.CONTROL_PORT}
    dns = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    # Nobody knows the hub's addresses in advance, and its name is nothing to a NetworkPolicy.
    hub = [{"ports": [{"protocol": "TCP", "port": 1, "endPort": 65535}]}] if needs_hub else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.name, names.REPLICA_COMPONENT),
        "spec": {
            "podSelector": {"matchLabels": names.component_selector(owner.name, names.REPLICA_COMPONENT)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [gateways, operator], "ports": [control]}],
            "egress": [dns, *hub],
        },
    }


def group_policy(owner: Owner, replica: int) -> dict[str, Any]:
    """The ranks of one replica reach one another, on any port, and nobody else's."""
    own = {"podSelector": {"matchLabels": {names.DEPLOYMENT: owner.name, names.REPLICA: str(replica)}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(
            names.group_policy(owner.name, replica), names.REPLICA_COMPONENT, {names.REPLICA: str(replica)}
        ),
        "spec": {
            **own,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [own]}],
            "egress": [{"to": [own]}],
        },
    }

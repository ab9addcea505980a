"""What they are doing, for people."""

from __future__ import annotations

from vajra.cli.kubectl.texts.table import table
from vajra.cli.kubectl.views.top import ReplicaLoad, TopView


def top_text(view: TopView) -> str:
    """One screen."""
    lines = [f"{view.namespace}/{view.name}"]
    replicas = [
        (each.replica, each.pod, each.node, each.state, _n(each.running), _n(each.waiting), _kv(each))
        for each in view.replicas
    ]
    lines += table(("REPLICA", "POD", "NODE", "STATE", "RUNNING", "WAITING", "KV BLOCKS"), replicas)
    gateways = [
        (each.pod, each.node, _n(each.running), _n(each.waiting), _r(each.requests_rate), _r(each.tokens_rate))
        for each in view.gateways
    ]
    if gateways:
        lines += ["", *table(("GATEWAY", "NODE", "RUNNING", "WAITING", "REQUESTS/S", "TOKENS/S"), gateways)]
        rates = [each.tokens_rate for each in view.gateways if each.tokens_rate is not None]
        if rates:
            lines.append(f"tokens/s in all: {sum(rates):.1f}")
    lines += [f"note: {note}" for note in view.notes]
    return "\n".join(lines)


def _n(number: int | None) -> str:
    return "" if number is None else str(number)


def _r(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1f}"


def _kv(load: ReplicaLoad) -> str:
    used, blocks = load.kv_blocks_used, load.kv_blocks
    return "" if used is None or not blocks else f"{used} of {blocks} ({100 * used / blocks:.0f}%)"

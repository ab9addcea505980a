"""A replica set's order: its prioritizer, and what may stand in front of it."""

from __future__ import annotations

from typing import Any

from vajra.config import VajraDeployment
from vajra.scheduling.fairness import FairPrioritizer, VirtualTokenCounters
from vajra.scheduling.predictor import PrefillTimes
from vajra.scheduling.prioritizer import Prioritizer, prioritizers
from vajra.scheduling.relegation import RelegatingPrioritizer


def ordering(
    config: Any, times: PrefillTimes | None, *, per_tenant: bool = False, relegate: bool = False
) -> Prioritizer:
    """The prioritizer of `config`; with `per_tenant` the tenant that was served least comes first, and with `relegate`
    all others before those who are too late anyway. Raises TypeError where `times` are needed and not given."""
    order = prioritizers.create(config, times)
    if per_tenant:
        order = FairPrioritizer(order, VirtualTokenCounters())
    if relegate:
        if times is None:
            raise TypeError("relegation needs predicted prefill times")
        order = RelegatingPrioritizer(order, times)
    return order


def ordering_of(deployment: VajraDeployment, times: PrefillTimes | None) -> Prioritizer:
    """The order that a deployment asks for."""
    return ordering(deployment.prioritizer_config, times, per_tenant=deployment.is_fair, relegate=deployment.relegates)

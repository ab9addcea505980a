"""All metrics there are, by who tells them."""

from __future__ import annotations

from typing import Final, NamedTuple

from vajra.metrics import GATEWAY_METRICS, PROCESS_METRICS, Metric
from vajra.operator.deployment_metrics import DEPLOYMENT_METRICS
from vajra.operator.metrics import OPERATOR_METRICS


class Source(NamedTuple):
    """Who tells metrics. text: of its chapter in the documentation."""

    title: str
    text: str
    metrics: tuple[Metric, ...]


SOURCES: Final = (
    Source(
        "VajraDeployments",
        "Told by the operator that leads, of every VajraDeployment that it serves, as long as that is there. The label "
        "`namespace` is the VajraDeployment's, so a scrape must honour it.",
        DEPLOYMENT_METRICS,
    ),
    Source(
        "Operators",
        "Told by every operator of itself, under the names that controller-runtime has made common.",
        (*OPERATOR_METRICS, *PROCESS_METRICS),
    ),
    Source(
        "Gateways",
        "Told by every gateway, at port 8473 of its pod and also at `/metrics` beside the OpenAI API, of the requests "
        "that came to it. What it tells of replicas (label `replica`: an address) it asks them at every scrape, so all "
        "gateways tell the same of them.",
        GATEWAY_METRICS,
    ),
)
BY_NAME: Final = {metric.name: metric for source in SOURCES for metric in source.metrics}

"""Expressions over metrics of the tables, and over no others: an unknown name is a KeyError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vajra.metrics import Metric
from vajra.operator.monitoring.catalog import BY_NAME

CHOSEN: Final = 'namespace=~"$namespace",vajradeployment=~"$deployment"'  # what the dashboard's variables say
OWNER: Final = "namespace, vajradeployment"
_UNITS: Final = {"seconds": "s", "bytes": "bytes"}  # as Grafana calls them; all else is a number


@dataclass(frozen=True)
class Query:
    """A line of a panel, or several. unit: as Grafana calls it."""

    metric: Metric
    expression: str
    legend: str
    unit: str


def now(name: str, legend: str = "", *, by: str = OWNER, how: str = "sum", where: str = CHOSEN) -> Query:
    """What a metric says, over the pods that tell it. how: they are taken together; `max` where all say the same."""
    metric = BY_NAME[name]
    return Query(metric, f"{how} by ({by}) ({name}{{{where}}})", legend, _UNITS.get(metric.unit, "short"))


def rate(name: str, legend: str, *, by: str = OWNER, where: str = CHOSEN) -> Query:
    """How fast a counter grows, per second."""
    metric = BY_NAME[name]
    unit = "percentunit" if metric.unit == "seconds" else "short"  # seconds per second
    return Query(metric, f"sum by ({by}) (rate({name}{{{where}}}[$__rate_interval]))", legend, unit)


def quantiles(name: str, legend: str = "", *, by: str = OWNER, where: str = CHOSEN) -> list[Query]:
    """Median, 95 % and 99 % of a histogram."""
    metric = BY_NAME[name]
    buckets = f"sum by (le, {by}) (rate({name}_bucket{{{where}}}[$__rate_interval]))"
    return [
        Query(metric, f"histogram_quantile({q}, {buckets})", f"p{q * 100:g} {legend}".strip(), _UNITS[metric.unit])
        for q in (0.5, 0.95, 0.99)
    ]


def share(part: str, whole: str, legend: str, *, by: str = OWNER) -> Query:
    """One metric as a share of another."""
    both = (f"max by ({by}) ({BY_NAME[name].name}{{{CHOSEN}}})" for name in (part, whole))
    return Query(BY_NAME[part], " / ".join(both), legend, "percentunit")

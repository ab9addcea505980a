"""Writes docs/kubernetes/metrics.md: `python -m vajra.operator.monitoring.docs > docs/kubernetes/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterator

from vajra.operator.monitoring.catalog import SOURCES

_HEAD = """\
# Metrics

<!-- Generated: python -m vajra.operator.monitoring.docs > docs/kubernetes/metrics.md -->

What Prometheus can scrape; [monitoring.md](monitoring.md) says how.
"""


def page() -> Iterator[str]:
    """The lines of the page."""
    yield _HEAD
    for source in SOURCES:
        yield f"## {source.title}\n\n{source.text}\n"
        yield "| metric | type | unit | labels | what it is |\n|--|--|--|--|--|"
        for metric in source.metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            yield f"| `{metric.name}` | {metric.type.value} | {metric.unit} | {labels} | {metric.text} |"
        yield ""


if __name__ == "__main__":
    print("\n".join(page()).rstrip())

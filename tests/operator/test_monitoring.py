"""The dashboard, the alerts and their pages know the metrics that there are, and each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vajra.operator.monitoring.catalog import BY_NAME, SOURCES
from vajra.operator.monitoring.dashboard import dashboard
from vajra.operator.monitoring.panels import LEFT_OUT, ROWS

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/kubernetes/runbooks"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "charts/vajra-operator/files/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
# What Prometheus makes of a histogram.
SERIES = set(BY_NAME) | {f"{name}_{end}" for name in BY_NAME for end in ("bucket", "sum", "count")}


def named(expression: str) -> set[str]:
    """The metrics in an expression: words before a brace."""
    return set(re.findall(r"(\w+)\{", expression))


def test_each_metric_is_told_by_one_source() -> None:
    assert len(BY_NAME) == sum(len(source.metrics) for source in SOURCES)
    for metric in BY_NAME.values():
        assert (metric.type.value == "counter") == metric.name.endswith("_total")


def test_each_metric_has_a_panel_or_a_reason_to_have_none() -> None:
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    shown = set.union(*map(named, expressions))
    assert shown <= SERIES
    assert {name.removesuffix("_bucket") for name in shown} | set(LEFT_OUT) == set(BY_NAME)
    assert shown.isdisjoint(LEFT_OUT)


def test_no_panel_loses_a_query_and_none_lies_on_another() -> None:
    drawn = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert [len(panel["targets"]) for panel in drawn] == [len(p.queries) for row in ROWS.values() for p in row]
    places = [tuple(panel["gridPos"].values()) for panel in dashboard()["panels"]]
    covered = [(x, y) for left, top, w, h in places for x in range(left, left + w) for y in range(top, top + h)]
    assert len(covered) == len(set(covered))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert named(rule["expr"]) <= SERIES
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == PAGES / f"{rule['alert']}.md"
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    assert headings == [rule["alert"], "Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_each_page_is_of_an_alert() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {rule["alert"] for rule in RULES}


def test_the_documentation_lists_the_alerts() -> None:
    page = (ROOT / "docs/kubernetes/monitoring.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \|", page, re.MULTILINE)
    assert sorted(rows) == sorted((rule["alert"], rule["alert"], rule["labels"]["severity"]) for rule in RULES)

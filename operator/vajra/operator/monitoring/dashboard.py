"""Writes the Grafana dashboard, charts/vajra-operator/files/dashboard.json, to standard output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from vajra.operator.monitoring.catalog import BY_NAME
from vajra.operator.monitoring.panels import ROWS, Panel

_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 8
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_LEGEND: Final = {"displayMode": "list", "placement": "bottom"}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {"legend": {**_LEGEND, "showLegend": True}, "tooltip": {"mode": "multi"}},
    "state-timeline": {"legend": {**_LEGEND, "showLegend": False}, "showValue": "auto", "mergeValues": True},
    "table": {"showHeader": True},
}


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "title": "Vajra",
        "uid": "vajra",
        "description": "Generated: python -m vajra.operator.monitoring.dashboard",
        "tags": ["vajra"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    info, leads = BY_NAME["vajra_deployment_info"].name, BY_NAME["leader_election_master_status"].name
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    yield _variable("namespace", f"label_values({info}, namespace)")
    yield _variable("deployment", f'label_values({info}{{namespace=~"$namespace"}}, vajradeployment)')
    yield _variable("operator", f'label_values({leads}{{name="vajradeployment"}}, job)')


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    across = _COLUMNS // _WIDTH
    for title, panels in ROWS.items():
        yield {"id": number, "type": "row", "title": title, "panels": [], "gridPos": _place(0, y, _COLUMNS, 1)}
        y += 1
        for index, panel in enumerate(panels):
            place = _place(index % across * _WIDTH, y + index // across * _HEIGHT, _WIDTH, _HEIGHT)
            yield {"id": number + 1 + index, "gridPos": place, **_panel(panel)}
        number += 1 + len(panels)
        y += -(-len(panels) // across) * _HEIGHT


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": list(_targets(panel)),
    }


def _targets(panel: Panel) -> Iterator[dict[str, Any]]:
    form = {"format": "table", "instant": True} if panel.kind == "table" else {"format": "time_series", "range": True}
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = {"refId": letter, "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend}
        yield target | form


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))

"""Write dashboard.json, the Grafana dashboard, from panels.yaml.

    python deploy/monitoring/dashboard.py

Import the file into Grafana (Dashboards, New, Import) and choose your Prometheus. ``gateway``
and ``party`` choose among the services that it scrapes; for an organisation that runs one of them
the other's rows stay empty.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TARGET = HERE / "dashboard.json"
SCHEMA_VERSION = 41  # Grafana 12; older ones from 9 on read it as well
WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number: int, one: dict[str, Any], x: int, y: int) -> dict[str, Any]:
    """A panel of panels.yaml as Grafana has it."""
    kind = one.get("kind", "timeseries")
    custom = {"stacking": {"mode": "normal" if one.get("stacked") else "none"}, "fillOpacity": 10}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if kind == "stat":
        custom, options = {}, {"textMode": "value_and_name", "reduceOptions": {"calcs": ["last"]}}
    return {
        "id": number,
        "type": kind,
        "title": one["title"],
        "description": one["help"],
        "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": one.get("width", 8), "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": one["unit"], "custom": custom}, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(one["queries"].items())
        ],
    }


def chooser(name: str, metric: str) -> dict[str, Any]:
    """A variable: which services of a kind are shown."""
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, instance)", "refId": name},
        "definition": f"label_values({metric}, instance)",
        "multi": True,
        "includeAll": True,
        "refresh": 2,
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in yaml.safe_load((HERE / "panels.yaml").read_text()).items():
        where = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        heading = {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": where}
        panels.append(heading | {"collapsed": False, "panels": []})
        y, x = y + 1, 0
        for one in row:
            made = panel(len(panels) + 1, one, x, y)
            if x + made["gridPos"]["w"] > WIDTH:
                x, y = 0, y + HEIGHT
                made["gridPos"] |= {"x": x, "y": y}
            panels.append(made)
            x += made["gridPos"]["w"]
        y += HEIGHT
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    return {
        "uid": "libmpc",
        "title": "libmpc",
        "description": "One organisation's parties and gateways. See docs/metrics.md.",
        "tags": ["libmpc"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "utc",
        "templating": {
            "list": [
                source,
                chooser("gateway", "libmpc_gateway_ready"),
                chooser("party", "libmpc_party_ready"),
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())

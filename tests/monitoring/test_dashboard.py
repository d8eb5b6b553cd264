"""The Grafana dashboard: it is what its program writes, and asks for what there is."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring.known import problems, series

HERE = Path(__file__).resolve().parent.parent.parent / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((HERE / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [p for p in DASHBOARD["panels"] if p["type"] != "row"]
UNITS = {"s", "bytes", "Bps", "reqps", "ops", "percentunit", "short", "dtdurations"}

every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def test_the_file_is_what_its_program_writes() -> None:
    written = runpy.run_path(str(HERE / "dashboard.py"))["text"]()
    assert (HERE / "dashboard.json").read_text() == written


def plain(expr: str) -> str:
    """The expression with values for Grafana's own variables, which PromQL does not know."""
    return expr.replace("$__rate_interval", "5m").replace("$__range", "6h")


@every_panel
def test_expressions_ask_for_what_there_is(panel: dict[str, Any]) -> None:
    pytest.importorskip("promql_parser")
    assert panel["targets"]
    for target in panel["targets"]:
        assert list(problems(plain(target["expr"]), series())) == []


@every_panel
def test_legends_name_labels_that_the_answer_has(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        kept = re.findall(r"\b(?:sum|count) by \(([^)]*)\)", target["expr"])
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            if kept:
                assert all(label in names.replace(" ", "").split(",") for names in kept)
            else:
                assert "sum(" not in target["expr"]


@every_panel
def test_panels_are_explained_and_have_units(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS
    exprs = " ".join(target["expr"] for target in panel["targets"])
    if unit == "bytes":
        assert re.search(r"_bytes\b", exprs)
    if unit == "s":
        assert "_seconds" in exprs


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_variables_are_there_and_used() -> None:
    variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "gateway", "party"}
    known = series()
    for name in ("gateway", "party"):
        metric = re.fullmatch(r"label_values\((\w+), instance\)", variables[name]["definition"])
        assert metric is not None
        assert metric[1] in known
    for panel in PANELS:
        for target in panel["targets"]:
            assert "$gateway" in target["expr"] or "$party" in target["expr"]


def test_every_metric_is_on_a_panel_or_not_for_operators() -> None:
    """What nobody looks at need not be counted."""
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series()}
    left = {name for name in families if name.startswith("libmpc") and name not in shown}
    assert left == {
        # details of what is shown
        "libmpc_party_link_messages_total",
        "libmpc_party_link_payload_bytes_total",
        "libmpc_gateway_link_messages_total",
        "libmpc_gateway_link_payload_bytes_total",
        "libmpc_party_links_total",
        "libmpc_gateway_links_total",
        "libmpc_gateway_link_rekeys_total",
        "libmpc_party_gateway_links",
        "libmpc_gateway_batch_images",
        "libmpc_gateway_batches",
        "libmpc_party_run_images",
        "libmpc_party_run_queries",
        "libmpc_party_queries_total",
        "libmpc_party_streams",
    }

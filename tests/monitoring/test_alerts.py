"""Alert rules: they parse, ask for what there is, say what to do, and fire when they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.cases import CASES
from tests.monitoring.known import problems, series

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "deploy" / "monitoring" / "alerts.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
#: what `apt install prometheus` brings; or the path of one
PROMTOOL = os.environ.get("LIBMPC_PROMTOOL") or shutil.which("promtool") or ""

every_alert = pytest.mark.parametrize("name", ALERTS)
with_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian: prometheus) is not here")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_expressions_ask_for_what_there_is(rule: dict[str, Any]) -> None:
    pytest.importorskip("promql_parser")
    recorded = {r["record"]: {"job", "instance"} for r in RULES if "record" in r}
    assert list(problems(rule["expr"], series() | recorded)) == []


def test_a_wrong_expression_is_found() -> None:
    pytest.importorskip("promql_parser")
    for wrong in (
        "libmpc_nothing > 0",
        'sum by (model) (rate(libmpc_party_runs_total{result="x"}[5m]))',
        'libmpc_party_runs_total{outcome="lost"}',
        "sum by (colour) (libmpc_party_ready)",
    ):
        assert len(list(problems(wrong, series()))) == 1, wrong


@every_alert
def test_alerts_say_what_is_wrong_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"Libmpc([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    for part in ("summary", "description"):
        assert rule["annotations"][part].endswith(".")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == name.lower()
    section = re.search(
        rf"^### {name}\n(.*?)(?=^##|\Z)", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )
    assert section, f"{page} has no section {name}"
    assert len(section[1].split()) >= 25


def test_the_runbook_has_no_alert_that_is_gone() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^### (Libmpc\w+)$", text, re.MULTILINE)) == set(ALERTS)


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == list(ALERTS)
    known = series()
    for case in CASES.values():
        for name in case.series:
            labels = set(re.findall(r'(\w+)="', name))
            assert labels == known[name.partition("{")[0]], name


def _suite() -> dict[str, Any]:
    tests = []
    for name, case in CASES.items():
        selector = f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})'
        fired = {"labels": f'{{alertname="{name}"}}', "value": 1}
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
                "promql_expr_test": [
                    {"expr": selector, "eval_time": f"{case.quiet}m", "exp_samples": []},
                    {"expr": selector, "eval_time": f"{case.fires}m", "exp_samples": [fired]},
                ],
            }
        )
    return {"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": tests}


@with_promtool
def test_prometheus_accepts_the_rules() -> None:
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@with_promtool
def test_every_alert_fires_when_it_should(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(_suite(), sort_keys=False))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""What real services write to their logs, line by line, against docs/logs.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import libmpc
from libmpc import data
from libmpc.errors import ModelNotFoundError

pytestmark = pytest.mark.timeout(300)  # a whole cluster, from the start
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "logs.md"
ALWAYS = {"time", "level", "logger", "service", "message"}
LEVELS = {"debug", "info", "warning", "error"}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines of each service that has answered and refused."""
    home = tmp_path_factory.mktemp("logs")
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images, _ = data.digits()
    with pytest.MonkeyPatch.context() as patch:
        for service in ("PARTY", "GATEWAY"):
            patch.setenv(f"LIBMPC_{service}_LOG_JSON", "true")
            patch.setenv(f"LIBMPC_{service}_LOG_LEVEL", "debug")
        with libmpc.LocalCluster(home) as cluster:
            cluster.share(model, "digits", serve=True)
            with libmpc.Client(cluster.deployment, retries=0) as client:
                client.query("digits", images[:3])
                with pytest.raises(ModelNotFoundError) as refused:
                    client.query("nothing", images[:1])
    found = {p.stem: p.read_text().splitlines() for p in (home / "logs").glob("*.log")}
    found["refused"] = [refused.value.request]
    return found


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def documented() -> set[str]:
    """The fields that docs/logs.md has in its table."""
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("service", ["party0", "party1", "party2", "gateway"])
def test_every_line_is_a_record_of_the_documented_fields(
    logs: dict[str, list[str]], service: str
) -> None:
    records = parsed(logs[service])
    assert len(records) >= 5
    for record in records:
        assert set(record) >= ALWAYS
        assert set(record) <= documented()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert record["level"] in LEVELS
        assert record["service"] == service
        assert isinstance(record["message"], str)


def test_a_query_is_found_at_the_gateway_and_both_evaluators(logs: dict[str, list[str]]) -> None:
    (line,) = [r for r in parsed(logs["gateway"]) if r.get("images") == 3]
    assert (line["status"], line["model"]) == (200, "digits")
    for party in ("party0", "party1"):
        wanted = f"query {line['query']}: 200"
        assert [r["message"] for r in parsed(logs[party])].count(wanted) == 1
    # The dealer never hears of queries.
    assert line["query"] not in "\n".join(logs["party2"])


def test_a_refused_query_is_found_by_what_the_client_was_told(logs: dict[str, list[str]]) -> None:
    (request,) = logs["refused"]
    found = [r for r in parsed(logs["gateway"]) if r.get("request") == request]
    assert request
    assert (found[-1]["route"], found[-1]["status"]) == ("/v2/models/{name}", 404)

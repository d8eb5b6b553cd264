"""What a later minor version may add is read by this one; what it may not is refused."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from libmpc.party.messages import (
    Control,
    ModelList,
    ModelState,
    PartyStatus,
    Refusal,
    RunAbort,
    RunAgreement,
    Toss,
)
from libmpc.party.records import DATABASE
from libmpc.wire.errors import WireError
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import expected, triple

STATE = ModelState(
    name="mnist",
    model="ab" * 32,
    state="serving",
    num_requests=None,
    served=0,
    plan_digest="cd" * 32,
    descriptor=None,
)
STATUS = PartyStatus(party=0, version="9.9", ready=True, reason="", epoch=None, models=1)


@pytest.mark.parametrize(
    "report",
    [STATUS, STATE, ModelList(models=(STATE,)), Refusal(status=503, error="later")],
    ids=lambda report: type(report).__name__,
)
def test_reports_to_gateways_may_say_more(report: Control) -> None:
    document = {**json.loads(report.encode()), "color": ["blue", {"and": 1}]}
    if isinstance(report, ModelList):
        document["models"][0]["color"] = "blue"
    assert type(report).parse(json.dumps(document).encode()) == report
    # More, but not less, and nothing else.
    name = next(iter(json.loads(report.encode())))
    for wrong in ({k: v for k, v in document.items() if k != name}, {**document, name: {}}):
        with pytest.raises(WireError):
            type(report).parse(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    "message",
    [
        RunAbort(),
        RunAgreement(digest="ab" * 32),
        Toss(bundle=1, count=1, rate=1, commitment="ab" * 32),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_between_parties_may_not(message: Control) -> None:
    document = {**json.loads(message.encode()), "color": "blue"}
    with pytest.raises(WireError):
        type(message).parse(json.dumps(document).encode())


def test_a_database_with_more_columns_and_tables(tmp_path: Path) -> None:
    async def main() -> None:
        x = inputs(2)
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            first = await gateway.push(PLAN, WEIGHTS, num_requests=9)
            await gateway.query(x)
            for index in range(3):
                await parties.stop(index)
                place = tmp_path / f"party{index}" / "data" / DATABASE
                with sqlite3.connect(place) as database:
                    database.execute(
                        "ALTER TABLE models ADD COLUMN color TEXT NOT NULL DEFAULT 'blue'"
                    )
                    database.execute("CREATE TABLE colors (model TEXT PRIMARY KEY)")
                database.close()
                parties.start(index)
            await parties.ready()
            gateway = await parties.gateway()
            assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))
            assert (await gateway.models()).models[0].served == 2
            second = await gateway.push(PLAN, WEIGHTS, replace=first)
            await gateway.command(second, "delete")
            await gateway.push(PLAN, WEIGHTS)
            assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))

    asyncio.run(main())

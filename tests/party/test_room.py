"""As many models as one party keeps: every list of them fits into one message."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libmpc.identity.signing import SigningKey
from libmpc.party import places, sync
from libmpc.party.messages import Kind, ModelList, ModelState
from libmpc.wire.command import Command
from libmpc.wire.names import MAX_NAME
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed
from tests.party.test_queries import PLAN, WEIGHTS
from tests.party.triple import Refused, triple, until

KEY = SigningKey.generate()
HEX32, HEX16 = "ab" * 32, "cd" * 16


def a_command() -> Signed:
    return KEY.sign_document(
        Command(
            deployment=HEX16,
            action="serve",
            name="n" * MAX_NAME,
            model=HEX32,
            num_requests=1 << 40,
            command_id=HEX16,
            issued_ms=1 << 42,
            expires_ms=(1 << 42) + 1000,
        )
    )


def test_the_longest_lists_can_be_read() -> None:
    receipt = KEY.sign_document(Receipt(deployment=HEX16, party=1, model=HEX32))
    command = a_command()
    state = sync.ModelReport(
        model=HEX32, served=1 << 40, certificate=(receipt,) * 3, command=command
    )
    report = sync.CatalogReport(
        models=(state,) * places.MAX_STORED, deleted=(command,) * sync.MAX_TOLD
    )
    assert sync.CatalogReport.parse(report.encode()) == report
    # A descriptor is longer than that command, by a few hundred bytes.
    descriptor = Signed(document=b"d" * 1500, signature=bytes(64))
    listed = ModelState(
        name="n" * MAX_NAME,
        model=HEX32,
        state="serving",
        num_requests=1 << 40,
        served=1 << 40,
        plan_digest=HEX32,
        descriptor=descriptor,
    )
    models = ModelList(models=(listed,) * places.MAX_STORED)
    assert ModelList.parse(models.encode()) == models


def test_one_model_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_STORED", 2)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            first = await gateway.push(PLAN, WEIGHTS, "first")
            await gateway.push(PLAN, WEIGHTS, "second")
            with pytest.raises(Refused, match="409: 2 models are stored"):
                await gateway.push(PLAN, WEIGHTS, "third")
            await gateway.push(PLAN, WEIGHTS, "first", replace=first)
            (listed,) = [m for m in (await gateway.models(0)).models if m.name == "second"]
            await gateway.command(listed.model, "delete", name="second")
            await gateway.push(PLAN, WEIGHTS, "third")

    asyncio.run(main())


def test_the_newest_deletions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "MAX_TOLD", 2)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            models = []
            for name in ("first", "second", "third"):
                models.append(await gateway.push(PLAN, WEIGHTS, name))
                command = gateway.make_command(models[-1], "delete", None, name).encode()
                await gateway.ask(0, Kind.COMMAND, command)  # the gateway dies here
                await until(lambda: not parties.nodes[1].catalog.entries)
            await parties.stop(0)
            parties.start(0)  # what it tells comes from the disk now
            told = sync.CatalogReport.parse(sync.report(parties.nodes[0].catalog, 1))
            deleted = [Command.parse(signed.document).model for signed in told.deleted]
            assert deleted == models[1:]

    asyncio.run(main())

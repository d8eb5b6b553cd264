"""What three real parties write down of pushes, commands and queries, and what they do not."""

from __future__ import annotations

import asyncio
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from libmpc.audit import AuditLog, Follow, Record, check
from libmpc.audit.writer import Entry
from libmpc.identity.keys import GatewayIdentity
from libmpc.identity.signing import SigningKey
from libmpc.party.auditor import SECONDS
from libmpc.party.framing import join
from libmpc.party.messages import Batch, BatchEntry, Kind
from tests.manual_clock import ManualClock
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import Gateway, Refused, Triple, triple, until

CHANGES = ("prepare", "commit", "serve", "stop", "delete")


def records(parties: Triple, party: int) -> list[Record]:
    return list(Follow(parties.directory / f"party{party}" / "data" / "audit"))


async def written(parties: Triple) -> None:
    for node in parties.nodes.values():
        await node.auditor.flush()


def test_who_asked_for_what_and_how_much(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            await gateway.command(model, "serve", 50)
            for batch in (1, 3, 5):
                await gateway.query(inputs(batch))
            await gateway.command(model, "stop")
            with pytest.raises(Refused, match="503"):
                await gateway.query(inputs(2))
            await gateway.command(model, "delete")
            await written(parties)
            asked = GatewayIdentity.load(tmp_path / "gateway" / "keys").static_public.hex()
            for party in range(3):
                made = [r for r in records(parties, party) if r.event in CHANGES and not r.count]
                events = [event for event, _ in groupby(r.event for r in made)]
                assert events == ["prepare", "commit", "serve", "stop", "delete"]
                for record in made:
                    assert (record.model, record.name) == (model, "mnist")
                    assert record.owner == parties.owner.public.hex()
                    # Peers tell each other, too, and may be quicker than the gateway.
                    if record.peer is None:
                        assert (record.gateway, record.outcome) == (asked, 200)
                limits = [r.num_requests for r in made if r.event == "serve" and r.gateway]
                assert limits in ([50], [])
                asked_for = [r for r in records(parties, party) if r.gateway]
                assert sum(r.count or 1 for r in asked_for if r.event == "serve") == 1
                queries = [r for r in records(parties, party) if r.event == "query"]
                if party == 2:
                    assert queries == []  # it never hears of them
                    continue
                assert sum(r.count or 0 for r in queries if r.outcome == 200) == 3
                assert sum(r.samples or 0 for r in queries if r.outcome == 200) == 9
                (refused,) = (r for r in queries if r.outcome == 503)
                assert (refused.count, refused.samples, refused.name) == (1, 2, "mnist")

    asyncio.run(main())


def test_a_change_is_on_disk_before_the_gateway_hears_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            for action in ("stop", "serve", "delete"):
                signed = gateway.make_command(model, action).encode()
                await gateway.ask(1, Kind.COMMAND, signed)
                assert [r.event for r in records(parties, 1)][-1] == action

    asyncio.run(main())


def test_what_a_peer_told_is_recorded_as_a_peers(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            await gateway.ask(0, Kind.COMMAND, gateway.make_command(model, "stop").encode())
            await until(
                lambda: (
                    not any(n.catalog.entries[model].record.serving for n in parties.nodes.values())
                )
            )
            for party in (1, 2):
                async with parties.nodes[party]._lock:  # under which it is recorded
                    pass
                (stop,) = (r for r in records(parties, party) if r.event == "stop")
                assert stop.peer is not None
                assert (stop.gateway, stop.model) == (None, model)

    asyncio.run(main())


def test_a_gateway_cannot_fill_the_log(tmp_path: Path) -> None:
    """Refused and repeated commands, and inventions, are added up; the latter are not named."""

    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            stop = gateway.make_command(model, "stop").encode()
            forged = SigningKey.generate().sign("command", _document(gateway, model, "delete"))
            invented = [gateway.make_command(f"{n:064x}", "serve") for n in range(100)]
            await written(parties)
            before = len(records(parties, 1))
            for _ in range(100):
                await gateway.ask(1, Kind.COMMAND, stop)
                with pytest.raises(Refused, match="403"):
                    await gateway.ask(1, Kind.COMMAND, forged.encode())
            for command in invented:
                with pytest.raises(Refused, match="404"):
                    await gateway.ask(1, Kind.COMMAND, command.encode())
            await written(parties)
            new = records(parties, 1)[before:]
            assert len(new) < 40  # a few a second
            stops = [r for r in new if r.event == "stop"]
            assert [r.count for r in stops].count(None) == 1  # it was carried out once
            assert sum(r.count or 0 for r in stops) == 99
            assert sum(r.count or 0 for r in new if r.outcome == 403) == 100
            assert sum(r.count or 0 for r in new if r.outcome == 404) == 100
            assert all(r.model is None and r.owner is None for r in new if r.outcome == 404)

    asyncio.run(main())


def _document(gateway: Gateway, model: str, action: str) -> bytes:
    return gateway.make_command(model, action).document


def test_nothing_of_a_query_or_a_key_is_in_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs())
            (answers,) = await gateway.send([query])
            replies = await asyncio.gather(*answers)
            await written(parties)
            for party in range(3):
                folder = tmp_path / f"party{party}" / "data" / "audit"
                content = b"".join(file.read_bytes() for file in folder.iterdir())
                assert query.header.number.encode() not in content
                for secret in (*query.envelopes, *replies):
                    assert secret[:16].hex().encode() not in content
                for field in ("number", "deployment", "event", "time_ms"):
                    assert f'"{field}"'.encode() in content

    asyncio.run(main())


async def _answer(gateway: Gateway) -> NDArray[np.float64]:
    # Bundles of before a stop are dropped at one party after the other.
    while True:
        try:
            return await gateway.query(inputs())
        except Refused as error:
            assert error.status == 503


def test_while_the_log_cannot_be_written_nothing_is_done(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            log = parties.audits[0]
            os_file = log._file
            log._file = 1 << 30  # no such descriptor: as a disk that is gone
            with pytest.raises(Refused, match="503.*audit log"):
                await gateway.ask(0, Kind.COMMAND, gateway.make_command(model, "stop").encode())
            query = await gateway.seal_query(inputs())
            entry = BatchEntry(header=query.header, size=len(query.envelopes[0]))
            batch = Batch(model=model, timeout_ms=1000, entries=(entry,)).encode()
            with pytest.raises(Refused, match="503.*audit log"):
                await gateway.ask(0, Kind.BATCH, *join(batch, query.envelopes[0]))
            log._file = os_file
            await written(parties)
            await gateway.command(model, "serve")
            assert np.isfinite(await _answer(gateway)).all()
            await written(parties)
            # What had been done before it failed is recorded, too.
            assert [r.event for r in records(parties, 0)].count("stop") == 1

    asyncio.run(main())


def test_the_end_of_a_process_is_recorded_with_all_before_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            await gateway.query(inputs(4))
            await parties.stop()
            for party in range(3):
                events = [r.event for r in records(parties, party)]
                assert (events[0], events[-1]) == ("started", "stopped")
                assert ("query" in events) == (party != 2)
                check(tmp_path / f"party{party}" / "data" / "audit")

    asyncio.run(main())


def test_queries_are_added_up_and_written_together(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, audit=True) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            auditor = parties.nodes[0].auditor
            for _ in range(2000):
                auditor.query(b"g" * 32, model, 1, 200)
            await written(parties)
            (record,) = (r for r in records(parties, 0) if r.event == "query")
            assert record.count == 2000
            assert record.from_ms is not None
            assert record.from_ms <= record.time_ms < record.from_ms + 60_000 * SECONDS

    asyncio.run(main())


def test_records_have_no_field_for_a_payload(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, bytes(16), 0, ManualClock())
    with pytest.raises(ValueError):
        log.append([Entry("query", {"input": "0.5"})])
    log.close()

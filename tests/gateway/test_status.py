"""``GET /v2/status``: what parties say, put together; and who may see what of it."""

from __future__ import annotations

from libmpc._version import __version__
from libmpc.party.messages import Kind, PartyReport, PoolLevel
from services.gateway.status import REPEAT_SECONDS
from tests.gateway.fakes import FakeParty, state
from tests.gateway.rig import Rig, rig, run

OTHER = "99" * 32


def report(party: FakeParty) -> PartyReport:
    levels = () if party.index == 2 else (("digits", 8, 3 - party.index), ("secret", 1, 7))
    return PartyReport(
        party=party.index,
        version="1.4.2",
        ready=party.ready,
        reason="" if party.ready else "no epoch",
        epoch="0123456789abcdef",
        models=2,
        uptime_seconds=12.5,
        clock_ms=1_000_000,
        pools=tuple(PoolLevel(model=m, rung=r, ready=n) for m, r, n in levels),
    )


def modern(r: Rig) -> None:
    """Parties of this release, which store a second model."""
    for party in r.parties:
        party.models.append(state(party.index, "secret", OTHER))
        party.report = report(party)


def test_parties_models_and_load() -> None:
    async def work() -> None:
        async with rig() as r:
            modern(r)
            assert (await r.infer()).status_code == 200
            found = (await r.client.get("/v2/status")).json()
            assert (found["ready"], found["reason"]) == (True, "")
            assert found["gateway"]["version"] == __version__
            assert found["gateway"]["load"]["waiting"] == 0
            assert found["gateway"]["load"]["queries"]["answered"] == 1
            (triple,) = found["triples"]
            assert (triple["triple"], triple["ready"]) == (0, True)
            first = triple["parties"][0]
            assert (first["up"], first["ready"], first["epoch"]) == (True, True, "01234567")
            assert (first["version"], first["uptime_seconds"]) == ("1.4.2", 12.5)
            assert first["pools"][0] == {"model": "digits", "batch": 8, "ready": 3}
            assert [one["name"] for one in found["models"]] == ["digits", "secret"]

    run(work())


def test_a_client_sees_its_models_and_no_load() -> None:
    async def work() -> None:
        async with rig() as r:
            modern(r)
            token = r.token("client", models=("digits",))
            async with r.bearing(token) as client:
                answer = await client.client.get("/v2/status")
            assert "secret" not in answer.text
            found = answer.json()
            assert found["gateway"]["load"] is None
            assert [one["name"] for one in found["models"]] == ["digits"]
            assert (found["token"]["role"], found["token"]["models"]) == ("client", ["digits"])
            assert "sha256" not in answer.text
            # What was hidden from one is not hidden from the next, within the same answer.
            everything = await r.client.get("/v2/status")
            assert "secret" in everything.text
            assert len(r.parties[0].payloads(Kind.STATUS)) <= 2

    run(work())


def test_parties_that_are_older_down_or_not_ready() -> None:
    async def work() -> None:
        async with rig() as r:
            older = (await r.client.get("/v2/status")).json()
            assert older["ready"]
            assert older["triples"][0]["parties"][1]["uptime_seconds"] is None
            assert older["triples"][0]["parties"][1]["version"] == "1"
            r.parties[0].ready = False
            await r.lose(2)
            r.timers.advance(REPEAT_SECONDS)
            found = (await r.client.get("/v2/status")).json()
            zero, one, two = found["triples"][0]["parties"]
            assert (found["ready"], found["triples"][0]["ready"]) == (False, False)
            assert "party 2 is not reachable" in found["reason"]
            assert (zero["up"], zero["ready"], zero["reason"]) == (True, False, "no epoch")
            assert (one["ready"], two["up"], two["ready"]) == (True, False, False)

    run(work())


def test_parties_in_two_epochs_are_not_ready_together() -> None:
    async def work() -> None:
        async with rig() as r:
            r.parties[1].epoch = "another"
            found = (await r.client.get("/v2/status")).json()
            assert not found["triples"][0]["ready"]
            assert "new epoch" in found["triples"][0]["reason"]

    run(work())


def test_a_report_of_a_newer_party_is_understood() -> None:
    async def work() -> None:
        async with rig() as r:
            modern(r)
            text = report(r.parties[1]).encode().decode()
            r.parties[1].raw_report = (text[:-1] + ',"mood":"fine"}').encode()
            r.parties[2].raw_report = b'{"party":2}'
            found = (await r.client.get("/v2/status")).json()
            parties = found["triples"][0]["parties"]
            assert parties[1]["version"] == "1.4.2"
            assert not parties[2]["ready"]
            assert "no proper answer" in parties[2]["reason"]

    run(work())

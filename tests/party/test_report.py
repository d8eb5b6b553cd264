"""What a party says of itself to gateways that want more than its status."""

from __future__ import annotations

import asyncio
from pathlib import Path

from libmpc._version import __version__
from libmpc.party.messages import Kind, PartyReport
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import triple, until


def test_a_report_has_the_status_the_clock_and_the_pools(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            await gateway.query(inputs(1))
            await until(lambda: all(parties.nodes[p].role.levels for p in (0, 1)))
            for party in range(3):
                node = parties.nodes[party]
                report = PartyReport.parse(await gateway.ask(party, Kind.STATUS, b"1"))
                status = await gateway.status(party)
                assert (report.party, report.ready, report.version) == (party, True, __version__)
                assert (report.epoch, report.models) == (status.epoch, status.models) != (None, 0)
                assert report.uptime_seconds > 0
                assert abs(report.clock_ms / 1000 - parties.clock.now()) < 60
                assert bool(report.pools) == (party != 2)
                levels = {(pool.model, pool.rung): pool.ready for pool in report.pools}
                assert levels == {("mnist", r): n for (_, r), n in node.role.levels.items()}

    asyncio.run(main())

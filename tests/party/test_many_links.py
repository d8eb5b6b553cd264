"""How many links strangers and gateways may have under way at one party."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, LocalIdentity, RemoteIdentity, memory_pair
from libmpc.link import connect as open_link
from libmpc.party.messages import Kind
from tests.party.triple import FAST, Triple, triple


async def _reaches(parties: Triple) -> None:
    """A gateway's link is taken and answers."""
    gateway = await parties.gateway()
    assert (await gateway.status(0)).party == 0
    await asyncio.gather(*(link.close() for link in gateway.links.values()))


def test_handshakes_under_way_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libmpc.party.door.MAX_HANDSHAKES", 3)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            node = parties.nodes[0]
            silent = [memory_pair() for _ in range(3)]
            waiting = [asyncio.ensure_future(node.accept(theirs)) for _, theirs in silent]
            await asyncio.sleep(0)
            one_more = memory_pair()[1]
            await asyncio.wait_for(node.accept(one_more), 1)  # refused at once
            for ours, _ in silent:
                await ours.close()
            await asyncio.gather(*waiting)
            await _reaches(parties)

    asyncio.run(main())


def test_links_of_gateways_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libmpc.party.door.MAX_GATEWAY_LINKS", 2)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            identity = GatewayIdentity.load(tmp_path / "gateway" / "keys")
            local = LocalIdentity(GATEWAY, identity.static, parties.deployment.id)
            remote = RemoteIdentity(0, parties.deployment.parties[0].static_key)
            links = []
            for _ in range(3):
                stream = parties._connect(GATEWAY, 0)
                links.append(await open_link(stream, local, remote, settings=FAST))
                links[-1].start(lambda message: None)
            await asyncio.wait_for(links[2].wait_closed(), 5)
            assert links[0].alive
            assert links[1].alive
            links[0].post(Kind.STATUS, 1, 0)
            await asyncio.gather(*(link.close() for link in links))

            async def free() -> None:
                while len(parties.nodes[0].door.gateways) > 0:  # noqa: ASYNC110, nothing tells of it
                    await asyncio.sleep(0)

            await asyncio.wait_for(free(), 5)
            await _reaches(parties)

    asyncio.run(main())

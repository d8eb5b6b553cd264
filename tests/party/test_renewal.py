"""A party's keys replaced while three real parties serve; old keys, and files of others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from libmpc.deployment import Deployment
from libmpc.deployment_keys import add_keys, drop_keys, new_keys, use_keys
from libmpc.deployment_local import make_all
from libmpc.errors import ConfigError
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.signing import verify_document
from libmpc.link import LinkError, LocalIdentity, RemoteIdentity, connect
from libmpc.wire.keys import PartyKey
from libmpc.wire.signed import Signed
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import FAST, PORTS, Gateway, Triple, expected, triple, until


async def renew(parties: Triple, *indices: int) -> None:
    """SIGHUP: the party reads its files anew."""
    parties.deployment = Deployment.from_file(parties.directory / "deployment.yaml")
    for index in indices or (0, 1, 2):
        identity = PartyIdentity.load(parties.directory / f"party{index}" / "keys")
        await parties.nodes[index].renew(parties.deployment, identity)


async def answers(gateway: Gateway) -> bool:
    x = inputs(2)
    return np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))


@pytest.mark.parametrize("party", [0, 1, 2])
def test_from_old_keys_to_new_ones(tmp_path: Path, party: int) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            assert await answers(gateway)
            old = PartyIdentity.load(tmp_path / f"party{party}" / "keys")
            epoch = parties.nodes[0].peers.epoch

            add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / f"party{party}"))
            await renew(parties)
            assert await answers(gateway)  # on the old keys, and the old links
            assert parties.nodes[0].peers.epoch == epoch

            new = use_keys(tmp_path / f"party{party}")
            await renew(parties, party)
            await until(lambda: parties.nodes[0].peers.epoch not in (None, epoch))
            await parties.ready()
            gateway = await parties.gateway()
            assert await answers(gateway)
            key = Signed.parse(await gateway.ask(party, 33))
            assert verify_document(new.signing.public, PartyKey, key).party == party

            drop_keys(tmp_path / "deployment.yaml", party)
            epoch = parties.nodes[0].peers.epoch
            await renew(parties)
            assert await answers(gateway)  # nothing had to be made anew for it
            assert parties.nodes[0].peers.epoch == epoch
            for peer in {0, 1, 2} - {party}:
                await refused(
                    parties,
                    LocalIdentity(party, old.static, parties.deployment.id),
                    peer,
                    initiator=party < peer,
                )

            await parties.stop()
            parties.start()
            await parties.ready()
            assert await answers(await parties.gateway())

    asyncio.run(main())


async def refused(parties: Triple, thief: LocalIdentity, peer: int, *, initiator: bool) -> None:
    """Nobody gets a link with these keys, and the epoch goes on."""
    epoch = parties.nodes[peer].peers.epoch
    if initiator:
        remote = RemoteIdentity(peer, parties.deployment.parties[peer].static_key)
        with pytest.raises(LinkError):
            await connect(parties._connect(thief.index, peer), thief, remote, settings=FAST)
    else:
        mine = parties.nodes[peer].peers._peers[thief.index]
        assert thief.public_key not in mine.keys
    assert parties.nodes[peer].peers.epoch == epoch


def test_links_with_a_key_that_was_dropped_end(tmp_path: Path) -> None:
    """A party that goes on with its old key is cut off when the file names it no more."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            await parties.gateway()
            add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / "party1"))
            await renew(parties)
            drop_keys(tmp_path / "deployment.yaml", 1)
            await renew(parties, 0, 2)
            await until(lambda: parties.nodes[0].peers.missing == [1])
            await until(lambda: parties.nodes[2].peers.missing == [1])
            with pytest.raises(ConfigError, match="other keys for party 1"):
                await renew(parties, 1)

    asyncio.run(main())


def test_a_gateway_whose_key_was_replaced_is_cut_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            other = PartyIdentity.generate()
            entry = parties.deployment.gateways[0].model_copy(
                update={"static_key": other.static_public}
            )
            fresh = parties.deployment.model_copy(update={"gateways": (entry,)})
            fresh.write(tmp_path / "deployment.yaml")
            await renew(parties)
            await until(lambda: not any(link.alive for link in gateway.links.values()))
            with pytest.raises(LinkError):
                await parties.gateway()
            assert all(not node.door.gateways for node in parties.nodes.values())

    asyncio.run(main())


def test_another_deployments_file_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path / "one") as parties:
            epoch = parties.nodes[0].peers.epoch
            make_all(tmp_path / "two", PORTS)
            other = Deployment.from_file(tmp_path / "two" / "deployment.yaml")
            identity = PartyIdentity.load(tmp_path / "one" / "party0" / "keys")
            with pytest.raises(ConfigError, match="another deployment"):
                await parties.nodes[0].renew(other, identity)
            assert parties.nodes[0].peers.epoch == epoch

    asyncio.run(main())


def test_a_push_across_a_replacement_is_committed(tmp_path: Path) -> None:
    """Receipts signed with the old key count as long as the file names it."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / "party1"))
            await renew(parties)
            epoch = parties.nodes[0].peers.epoch
            use_keys(tmp_path / "party1")
            await renew(parties, 1)
            await until(lambda: parties.nodes[0].peers.epoch not in (None, epoch))
            await parties.ready()
            gateway = await parties.gateway()
            for party in range(3):
                await gateway.commit(party, model, receipts)
            assert await answers(gateway)

    asyncio.run(main())

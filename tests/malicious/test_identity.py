"""A stolen gateway, or one party's key, in somebody else's place: at real parties."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.link import GATEWAY, LinkError, LocalIdentity, RemoteIdentity, connect
from tests.malicious.stolen import Stolen, attack
from tests.party.triple import FAST


async def _refused(it: Stolen, key: X25519PrivateKey, claimed: int, party: int) -> None:
    local = LocalIdentity(claimed, key, it.parties.deployment.id)
    remote = RemoteIdentity(party, it.parties.deployment.parties[party].static_key)
    kept = dict(it.parties.streams)
    with pytest.raises(LinkError):
        await connect(it.parties._connect(claimed, party), local, remote, settings=FAST)
    it.parties.streams.clear()
    it.parties.streams.update(kept)


def test_the_gateways_key_is_no_partys(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        key = GatewayIdentity.load(tmp_path / "gateway" / "keys").static
        epoch = it.parties.nodes[0].peers.epoch
        for claimed, party in ((0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)):
            await _refused(it, key, claimed, party)
        assert {n.peers.epoch for n in it.parties.nodes.values()} == {epoch}
        await it.still_right()

    attack(work, tmp_path)


def test_a_partys_key_counts_in_its_own_place_only(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        epoch = it.parties.nodes[0].peers.epoch
        for thief in range(3):
            key = PartyIdentity.load(tmp_path / f"party{thief}" / "keys").static
            for claimed in (0, 1, GATEWAY):
                for party in range(3):
                    if claimed not in (thief, party) and claimed < max(party, GATEWAY + 1):
                        await _refused(it, key, claimed, party)
        assert {n.peers.epoch for n in it.parties.nodes.values()} == {epoch}
        await it.still_right()

    attack(work, tmp_path)


def test_a_stranger_has_no_place(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        epoch = it.parties.nodes[0].peers.epoch
        for claimed in (0, 1, GATEWAY):
            for party in range(3):
                if claimed != party:
                    await _refused(it, X25519PrivateKey.generate(), claimed, party)
        assert {n.peers.epoch for n in it.parties.nodes.values()} == {epoch}
        await it.still_right()

    attack(work, tmp_path)


def test_the_gateways_link_does_not_follow_a_party_out_of_the_deployment(tmp_path: Path) -> None:
    """A gateway that was replaced in the deployment file has no link a moment later."""

    async def work(it: Stolen) -> None:
        other = GatewayIdentity.generate()
        entry = it.parties.deployment.gateways[0].model_copy(
            update={"static_key": other.static_public}
        )
        fresh = it.parties.deployment.model_copy(update={"gateways": (entry,)})
        for index, node in it.parties.nodes.items():
            await node.renew(fresh, PartyIdentity.load(tmp_path / f"party{index}" / "keys"))
        key = GatewayIdentity.load(tmp_path / "gateway" / "keys").static
        for party in range(3):
            await it.own.links[party].wait_closed()
            await _refused(it, key, GATEWAY, party)

    attack(work, tmp_path)

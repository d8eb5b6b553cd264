"""Who gets a party's shares: its own organisation's processes in other triples, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.clock import SystemClock
from libmpc.deployment_keys import add_keys, new_keys
from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.link import (
    Link,
    LinkError,
    LocalIdentity,
    MemoryStream,
    Message,
    RemoteIdentity,
    connect,
    memory_pair,
)
from libmpc.link.reader import StreamReader
from libmpc.party.handover import Handed, MirrorRequest
from libmpc.party.messages import Kind
from libmpc.party.primary_link import PrimaryLink
from tests.party.test_renewal import renew
from tests.party.test_replicas import PLAN, WEIGHTS, right
from tests.party.triple import FAST, Gateway, Refused, Triple, replicas, triple, until

Attack = Callable[[Triple, Gateway, str], Awaitable[None]]


def attack(work: Attack, directory: Path) -> None:
    """Triple 0 with a model, all on its own; the attacker plays its replica."""

    async def main() -> None:
        async with asyncio.timeout(110), triple(directory) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            epoch = parties.nodes[0].peers.epoch
            await work(parties, gateway, model)
            assert all(not node.siblings.primary.links for node in parties.nodes.values())
            assert {node.peers.epoch for node in parties.nodes.values()} == {epoch}
            await right(gateway)

    asyncio.run(main())


def key_of(directory: Path, party: int) -> X25519PrivateKey:
    return PartyIdentity.load(directory / f"party{party}" / "keys").static


def visit(parties: Triple, party: int) -> MemoryStream:
    """A stream to a party."""
    ours, theirs = memory_pair()
    task = asyncio.ensure_future(parties.nodes[party].accept(theirs))
    parties._tasks.add(task)
    return ours


async def play_replica(parties: Triple, party: int, key: X25519PrivateKey, number: int = 1) -> Link:
    """A handshake as a replica of that party; raises unless it is taken for one."""
    local = LocalIdentity(party, key, parties.deployment.id, triple=number)
    entry = parties.deployment.parties[party]
    remote = RemoteIdentity(party, entry.static_key, entry.static_keys[1:])
    return await connect(visit(parties, party), local, remote, settings=FAST)


@asynccontextmanager
async def played(link: Link) -> AsyncIterator[PrimaryLink]:
    yield PrimaryLink(link, SystemClock(), 1 << 30, lambda: None)
    await link.close()


async def turned_away(parties: Triple, party: int, local: LocalIdentity) -> None:
    """Whoever does not keep to the rules himself is refused at his hello."""
    stream = visit(parties, party)
    hello = local.hello().encode()
    stream.write(len(hello).to_bytes(2, "big") + hello)
    assert await StreamReader(stream).take(100) == b"\0\0"


def test_an_organisations_own_process_gets_its_share(tmp_path: Path) -> None:
    """What the others are compared with: this is how it works for whom it is for."""

    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        for party in range(3):
            link = await play_replica(parties, party, key_of(tmp_path, party))
            async with played(link) as primary:
                assert await primary.fetch(model) is not None
            node = parties.nodes[party]
            await until(lambda node=node: not node.siblings.primary.links)  # type: ignore[misc]

    attack(work, tmp_path)


def test_nobody_elses_key_will_do(tmp_path: Path) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        gateways = GatewayIdentity.load(tmp_path / "gateway" / "keys").static
        for party in range(3):
            others = [key_of(tmp_path, other) for other in range(3) if other != party]
            for key in (*others, gateways, X25519PrivateKey.generate()):
                for number in (1, 63, 255):
                    with pytest.raises(LinkError):
                        await play_replica(parties, party, key, number)

    attack(work, tmp_path)


def test_knowing_the_public_key_is_not_enough(tmp_path: Path) -> None:
    class Impostor(LocalIdentity):
        """Shows the party's key and has another one."""

        @property
        def public_key(self) -> bytes:
            return key_of(tmp_path, self.index).public_key().public_bytes_raw()

    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        for party in range(3):
            own = X25519PrivateKey.generate()
            local = Impostor(party, own, parties.deployment.id, triple=1)
            remote = RemoteIdentity(party, parties.deployment.parties[party].static_key)
            with pytest.raises(LinkError):
                await connect(visit(parties, party), local, remote, settings=FAST)

    attack(work, tmp_path)


def test_the_right_key_counts_from_another_triple_only(tmp_path: Path) -> None:
    """Nobody who has one party's key is a peer of itself, or of its own replicas."""

    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        async with replicas(parties) as second:
            for party in range(3):
                key = key_of(tmp_path, party)
                for number, there in ((0, parties), (0, second), (1, second), (2, second)):
                    local = LocalIdentity(party, key, parties.deployment.id, triple=number)
                    await turned_away(there, party, local)
            # Nor is it a peer of another triple.
            for number, there in ((1, parties), (0, second), (2, second)):
                local = LocalIdentity(0, key_of(tmp_path, 0), parties.deployment.id, triple=number)
                await turned_away(there, 1, local)
            await right(await second.gateway())
        await until(lambda: not any(node.siblings.primary.links for node in parties.nodes.values()))

    attack(work, tmp_path)


REQUESTS = [
    (Kind.MIRROR, lambda model: MirrorRequest(known=0).encode()),
    (Kind.FETCH, bytes.fromhex),
]


def test_a_gateway_asks_in_vain(tmp_path: Path) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        for kind, make in REQUESTS:
            for party in range(3):
                with pytest.raises(Refused, match="400: an unknown request"):
                    await gateway.ask(party, kind, make(model))

    attack(work, tmp_path)


@pytest.mark.parametrize("request_", REQUESTS, ids=["report", "share"])
@pytest.mark.parametrize("peer", [0, 2])
def test_a_peer_asks_in_vain(
    tmp_path: Path, peer: int, request_: tuple[Kind, Callable[[str], bytes]]
) -> None:
    """On the link that it has, which ends for it."""
    kind, make = request_

    async def main() -> None:
        async with asyncio.timeout(110), triple(tmp_path) as parties:
            model = await (await parties.gateway()).push(PLAN, WEIGHTS)
            link = parties.nodes[1].peers.links[peer]
            heard: list[int] = []
            handle = link._handler
            assert handle is not None

            def listen(message: Message) -> None:
                heard.append(message.kind)
                handle(message)

            link._handler = listen
            link.post(kind, 1, 0, make(model))
            await link.wait_closed()
            assert not {Kind.SHARE, Kind.MIRROR} & set(heard)
            await parties.ready()
            await right(await parties.gateway())

    asyncio.run(main())


def test_a_recorded_handshake_opens_nothing(tmp_path: Path) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        sent: list[bytes] = []
        local = LocalIdentity(0, key_of(tmp_path, 0), parties.deployment.id, triple=1)
        remote = RemoteIdentity(0, parties.deployment.parties[0].static_key)
        stream = visit(parties, 0)

        def record(data: bytes) -> bytes:
            sent.append(data)
            return data

        stream.tamper = record
        link = await connect(stream, local, remote, settings=FAST)
        async with played(link) as primary:
            assert await primary.fetch(model) is not None
        node = parties.nodes[0]
        await until(lambda: not node.siblings.primary.links)
        again = visit(parties, 0)
        for data in sent:
            again.write(data)
        got = await StreamReader(again).take(1 << 20)
        # Its hello, an answer to the first message, and a refusal; no record of the link.
        assert len(got) < 300
        assert got.endswith(b"\0\0")
        assert not node.siblings.primary.links

    attack(work, tmp_path)


def test_a_stolen_handshake_key_reads_no_share(tmp_path: Path) -> None:
    """It gets what lies on the disk, which is noise without the storage key."""

    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        for party in range(3):
            link = await play_replica(parties, party, key_of(tmp_path, party))
            async with played(link) as primary:
                handed = await primary.fetch(model)
            assert isinstance(handed, Handed)
            store, entries = parties._stores[party], parties.nodes[party].catalog.entries
            share = bytes(store.share(entries[model].record))
            view = bytes(handed.file) + handed.header.encode() + handed.manifest
            view += handed.header.key_record
            for start in range(0, len(share) - 15, 16):
                assert share[start : start + 16] not in view
            node = parties.nodes[party]
            await until(lambda node=node: not node.siblings.primary.links)  # type: ignore[misc]

    attack(work, tmp_path)


def test_next_keys_count_for_their_own_organisation_and_until_they_are_dropped(
    tmp_path: Path,
) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        add_keys(tmp_path / "deployment.yaml", new_keys(tmp_path / "party1"))
        new = PartyIdentity.load(tmp_path / "party1" / "keys" / "next").static
        with pytest.raises(LinkError):
            await play_replica(parties, 1, new)  # the file has not been read
        await renew(parties)
        for party in (0, 2):
            with pytest.raises(LinkError):
                await play_replica(parties, party, new)
        link = await play_replica(parties, 1, new)
        async with played(link) as primary:
            assert await primary.fetch(model) is not None
            # The file names it no more: the link is cut.
            file = tmp_path / "deployment.yaml"
            fresh = parties.deployment.model_copy(
                update={
                    "parties": tuple(
                        p.model_copy(update={"next_keys": None}) for p in parties.deployment.parties
                    )
                }
            )
            fresh.write(file)
            await renew(parties)
            await link.wait_closed()
        with pytest.raises(LinkError):
            await play_replica(parties, 1, new)

    attack(work, tmp_path)


@pytest.mark.parametrize(
    "post",
    [
        (Kind.FETCH, bytes(31)),
        (Kind.MIRROR, b"{}"),
        (Kind.BATCH, b""),
        (Kind.PREPARE, b""),
        (Kind.EPOCH, b"{}"),
    ],
)
def test_a_replica_that_says_something_else_is_cut_off(
    tmp_path: Path, post: tuple[Kind, bytes]
) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        link = await play_replica(parties, 0, key_of(tmp_path, 0))
        link.start(lambda message: None)
        link.post(post[0], 1, 0, post[1])
        await link.wait_closed()
        node = parties.nodes[0]
        await until(lambda: not node.siblings.primary.links)

    attack(work, tmp_path)


def test_a_replica_has_one_question_at_a_time_and_one_link(tmp_path: Path) -> None:
    async def work(parties: Triple, gateway: Gateway, model: str) -> None:
        node = parties.nodes[0]
        links = [await play_replica(parties, 0, key_of(tmp_path, 0), 7) for _ in range(5)]
        for link in links[:-1]:
            link.start(lambda message: None)
            await link.wait_closed()
        assert set(node.siblings.primary.links) == {7}
        links[-1].start(lambda message: None)
        for number in range(2):
            links[-1].post(Kind.FETCH, number, 0, bytes.fromhex(model))
        await links[-1].wait_closed()
        await until(lambda: not node.siblings.primary.links and not node.siblings.primary._busy)

    attack(work, tmp_path)


def test_a_stolen_gateways_flood_costs_one_question_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(110), triple(tmp_path) as parties, replicas(parties) as second:
            await (await parties.gateway()).push(PLAN, WEIGHTS)
            other = await second.gateway()
            await other.sync()
            replica, asked = second.nodes[0].siblings.replica, 0
            assert replica is not None
            assert replica._link is not None
            report = replica._link.report

            async def count(request: MirrorRequest) -> object:
                nonlocal asked
                asked += 1
                return await report(request)

            replica._link.report = count  # type: ignore[method-assign,assignment]
            answers = [asyncio.ensure_future(other.ask(0, Kind.SYNC)) for _ in range(900)]
            assert await asyncio.gather(*answers) == [b"{}"] * 900
            assert asked < 100
            assert not replica._waiting
            await right(other)

    asyncio.run(main())

"""Triples in a handshake: who may link with whom, and that nobody can say another one."""

from __future__ import annotations

import asyncio

import pytest

from libmpc.errors import ConfigError
from libmpc.link import GATEWAY, LinkError, RemoteIdentity, connect, memory_pair
from libmpc.link.hello import Hello, may_initiate, prologue
from libmpc.link.noise import HandshakeState, NoiseError
from libmpc.link.reader import StreamReader
from tests.link.support import Ends, identity, refused, remote

INDICES = (0, 1, 2, GATEWAY)


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        ((0, 1), (1, 1), True),
        ((0, 1), (1, 0), False),
        ((0, 0), (1, 1), False),
        ((0, 2), (1, 1), False),
        ((1, 1), (0, 1), False),
        ((GATEWAY, 1), (2, 1), True),
        ((GATEWAY, 1), (2, 0), False),
        ((0, 1), (0, 0), True),  # a replica to its own organisation's primary
        ((2, 63), (2, 0), True),
        ((0, 0), (0, 1), False),
        ((0, 2), (0, 1), False),
        ((0, 1), (0, 1), False),
        ((0, 1), (GATEWAY, 1), False),
        ((GATEWAY, 1), (GATEWAY, 0), False),
    ],
)
def test_who_opens_links_to_whom(
    ours: tuple[int, int], theirs: tuple[int, int], allowed: bool
) -> None:
    assert may_initiate(ours[0], theirs[0], (ours[1], theirs[1])) is allowed


def test_a_triple_links_within_itself() -> None:
    async def run() -> None:
        one, two = await Ends(
            initiator=identity(0, triple=7), responder=identity(1, triple=7)
        ).links()
        assert (one.peer_triple, two.peer_triple) == (7, 7)
        assert one.stream_secret == two.stream_secret
        await asyncio.gather(one.close(), two.close())

    asyncio.run(run())


def test_a_gateway_says_which_triple_it_wants() -> None:
    async def run() -> None:
        one, two = await Ends(initiator=identity(GATEWAY), responder=identity(1, triple=2)).links()
        assert (one.peer_triple, two.peer_triple) == (2, 2)
        await asyncio.gather(one.close(), two.close())

    asyncio.run(run())


def test_a_replica_and_its_primary_have_no_common_streams() -> None:
    async def run() -> None:
        one, two = await Ends(initiator=identity(1, triple=1), responder=identity(1)).links()
        assert (one.peer, one.peer_triple, two.peer_triple) == (1, 0, 1)
        for link in (one, two):
            with pytest.raises(LinkError, match="only parties that differ"):
                _ = link.stream_secret
        await asyncio.gather(one.close(), two.close())

    asyncio.run(run())


@pytest.mark.parametrize("index", [0, GATEWAY])
def test_the_wrong_process_of_the_right_party_is_not_taken(index: int) -> None:
    # Two addresses are mixed up in the deployment file; the key is the right one at both.
    wanted = remote(identity(1, triple=1))
    one, two = refused(
        Ends(initiator=identity(index, triple=1), responder=identity(1), expected=wanted)
    )
    assert "triple 1 has no business with a party of triple 0" in two.reason
    assert "the peer refused" in one.reason


def test_an_initiator_checks_the_triple_itself() -> None:
    async def run() -> None:
        ours, theirs = memory_pair()
        work = connect(ours, identity(GATEWAY), remote(identity(1)))
        task = asyncio.ensure_future(work)
        frames = StreamReader(theirs)
        await frames.take(int.from_bytes(await frames.take(2), "big"))
        hello = identity(1, triple=5).hello().encode()
        theirs.write(len(hello).to_bytes(2, "big") + hello)
        with pytest.raises(LinkError) as caught:
            await task
        assert "wanted triple 0, found triple 5" in caught.value.reason

    asyncio.run(run())


def test_a_party_of_triple_0_says_what_it_said_before_there_were_triples() -> None:
    plain = identity(1, nonce=bytes(16)).hello().encode()
    assert identity(1, nonce=bytes(16), triple=4).hello().encode() == plain + b"\4"
    assert Hello.parse(plain).triple == 0


@pytest.mark.parametrize("triple", [-1, 256])
def test_there_are_256_triples_at_most(triple: int) -> None:
    with pytest.raises(ConfigError, match="triples go from 0"):
        identity(0, triple=triple)
    with pytest.raises(ConfigError, match="triples go from 0"):
        RemoteIdentity(0, bytes(32), triple=triple)


@pytest.mark.parametrize("side", [0, 1])
def test_whoever_changes_the_triple_in_transit_makes_the_handshake_fail(side: int) -> None:
    # The prologue binds both hellos as they were sent.
    hellos = [identity(0, triple=1).hello().encode(), identity(1, triple=1).hello().encode()]
    changed = list(hellos)
    changed[side] = changed[side][:-1] + b"\2"
    keys = [identity(0).private_key, identity(1).private_key]
    ours = HandshakeState(
        initiator=True,
        prologue=prologue(*hellos, 1),
        static=keys[0],
        remote_static=identity(1).public_key,
    )
    theirs = HandshakeState(
        initiator=False,
        prologue=prologue(*changed, 1),
        static=keys[1],
        remote_static=identity(0).public_key,
    )
    with pytest.raises(NoiseError, match="wrong tag"):
        theirs.read_message(ours.write_message())

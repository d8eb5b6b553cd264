"""Who gets a link, and who does not."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.link import (
    GATEWAY,
    Hello,
    Inbox,
    LinkError,
    LocalIdentity,
    RemoteIdentity,
    accept,
    connect,
    memory_pair,
)
from libmpc.link.hello import HelloError, may_initiate, prologue
from libmpc.link.reader import StreamReader
from tests.link.support import DEPLOYMENT, Ends, identity, known, refused, remote, versions
from tests.manual_clock import ManualClock, settle

OTHER_KEY = X25519PrivateKey.from_private_bytes(b"x" * 32)


def test_both_ends_have_the_same_secrets_and_new_ones_every_time() -> None:
    async def run() -> None:
        one, two = await Ends().links()
        assert (one.peer, two.peer) == (1, 0)
        assert one.transcript == two.transcript
        assert one.stream_secret == two.stream_secret
        assert one.rerandomise_secret == two.rerandomise_secret != one.stream_secret
        assert one.version == two.version == (1, 2)
        assert two.peer_nonce != one.peer_nonce
        again, _ = await Ends().links()
        secrets = (one.transcript, one.stream_secret, one.rerandomise_secret)
        assert not {again.transcript, again.stream_secret} & set(secrets)
        for link in (one, two):
            assert repr(secrets[1]) not in repr(link)
            assert secrets[1].hex() not in repr(link)
        for link in (one, two, again):
            await link.close()
        with pytest.raises(LinkError):
            _ = one.stream_secret

    asyncio.run(run())


def test_the_local_identity_hides_its_key() -> None:
    key = identity(0).private_key.private_bytes_raw()
    assert key.hex() not in repr(identity(0))
    assert "X25519" not in repr(identity(0))


@pytest.mark.parametrize(("lower", "higher"), [(0, 1), (0, 2), (1, 2)])
def test_only_the_evaluators_have_a_rerandomising_secret(lower: int, higher: int) -> None:
    async def run() -> None:
        links = await Ends(initiator=identity(lower), responder=identity(higher)).links()
        for link in links:
            assert len(link.stream_secret) == 32
            if (lower, higher) != (0, 1):
                with pytest.raises(LinkError, match="0 and 1"):
                    _ = link.rerandomise_secret
            await link.close()

    asyncio.run(run())


@pytest.mark.parametrize("party", [0, 1, 2])
def test_a_gateway_opens_links_to_any_party(party: int) -> None:
    async def run() -> None:
        ends = Ends(initiator=identity(GATEWAY), responder=identity(party))
        one, two = await ends.links()
        assert two.peer == GATEWAY
        assert two.peer_key == identity(GATEWAY).public_key
        with pytest.raises(LinkError, match="only parties that differ"):
            _ = two.stream_secret
        await one.close()
        await two.close()

    asyncio.run(run())


def test_an_unknown_static_key_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    _, two = refused(Ends(initiator=identity(0, private_key=OTHER_KEY)))
    assert "unknown static key" in two.reason
    assert "unknown static key" in caplog.text


def test_a_responder_with_another_key_is_refused() -> None:
    ends = Ends(responder=identity(1, private_key=OTHER_KEY), expected=remote(identity(1)))
    one, _ = refused(ends)
    assert "somebody else" in one.reason


def test_claiming_a_public_key_without_the_private_one_fails() -> None:
    """A hello with a known key gets as far as the handshake, and no further."""

    class Impostor(LocalIdentity):
        @property
        def public_key(self) -> bytes:
            return identity(0).public_key

    impostor = Impostor(0, OTHER_KEY, DEPLOYMENT)
    _, two = refused(Ends(initiator=impostor))
    assert two.reason == "wrong tag"


def test_another_index_than_wanted_is_refused() -> None:
    one, _ = refused(Ends(responder=identity(2), expected=remote(identity(1))))
    assert "somebody else" in one.reason


def test_a_known_key_under_another_index_is_refused() -> None:
    _, two = refused(
        Ends(initiator=identity(1, private_key=identity(0).private_key), responder=identity(2))
    )
    assert "unknown static key" in two.reason


def test_another_deployment_is_refused() -> None:
    _, two = refused(Ends(initiator=identity(0, deployment=b"o" * 16)))
    assert "another deployment" in two.reason


@pytest.mark.parametrize(("initiator", "responder"), [(1, 0), (2, 0), (2, 1), (0, 0)])
def test_only_the_lower_index_initiates(initiator: int, responder: int) -> None:
    one, _ = refused(Ends(initiator=identity(initiator), responder=identity(responder)))
    assert "does not open links" in one.reason
    assert not may_initiate(initiator, responder)


def test_a_responder_refuses_the_higher_index() -> None:
    async def run() -> None:
        ours, theirs = memory_pair()
        task = asyncio.ensure_future(accept(ours, identity(1), known))
        hello = identity(2).hello().encode()
        theirs.write(len(hello).to_bytes(2, "big") + hello)
        with pytest.raises(LinkError) as caught:
            await task
        assert "2 does not open links to 1" in caught.value.reason
        answer = await StreamReader(theirs).take(100)
        assert answer == b"\0\0"  # refused; no reason given; and the end

    asyncio.run(run())


def test_nobody_opens_links_to_gateways() -> None:
    assert not may_initiate(0, GATEWAY)
    assert not may_initiate(GATEWAY, GATEWAY)


@pytest.mark.parametrize(
    ("one", "two", "minor"),
    [((0, 0), (0, 1), 0), ((0, 2), (1, 3), 2), ((3, 4), (4, 5), 4)],
)
def test_neighbouring_minors_work_together(
    one: tuple[int, int], two: tuple[int, int], minor: int
) -> None:
    async def run() -> None:
        ends = Ends(
            initiator=identity(0, versions=versions(*one)),
            responder=identity(1, versions=versions(*two)),
        )
        links = await ends.links()
        for link in links:
            assert link.version == (1, minor)
            await link.close()

    asyncio.run(run())


@pytest.mark.parametrize("theirs", [versions(3, 4), versions(0, 1, major=2)])
def test_no_common_version_is_refused(theirs: object) -> None:
    _, two = refused(Ends(initiator=identity(0, versions=theirs)))
    assert "no common wire version" in two.reason


@pytest.mark.parametrize("direction", [0, 1])
def test_a_downgrade_in_transit_fails(direction: int) -> None:
    """Somebody edits a hello, so that two new ends fall back to an old version."""
    ends = Ends(
        initiator=identity(0, versions=versions(0, 5)),
        responder=identity(1, versions=versions(0, 5)),
    )

    def edit(piece: bytes) -> bytes:
        if piece[2:6] == b"LMPC":
            hello = Hello.parse(piece[2:])
            piece = piece[:2] + replace(hello, versions=versions(0, 1)).encode()
        return piece

    ends.streams[direction].tamper = edit
    _, two = refused(ends)
    assert two.reason == "wrong tag"


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("position", range(2, 75))
def test_every_changed_byte_of_a_hello_fails(direction: int, position: int) -> None:
    ends = Ends()

    def edit(piece: bytes) -> bytes:
        if piece[2:6] == b"LMPC":
            changed = bytearray(piece)
            changed[position] ^= 1
            piece = bytes(changed)
        return piece

    ends.streams[direction].tamper = edit
    refused(ends)


def test_later_minors_may_add_to_a_hello() -> None:
    body = identity(0, triple=3).hello().encode() + b"something new"
    assert (Hello.parse(body).index, Hello.parse(body).triple) == (0, 3)
    other = identity(1).hello().encode()
    assert prologue(body, other, 0) != prologue(body[:-1], other, 0)


@pytest.mark.parametrize(
    "body",
    [b"", b"GET / HTTP/1.1", identity(0).hello().encode()[:-1], b"LMPC" + bytes(100)],
)
def test_what_is_no_hello_is_refused(body: bytes) -> None:
    with pytest.raises(HelloError):
        Hello.parse(body)


def test_an_oversized_frame_is_refused_before_it_arrives() -> None:
    async def run() -> None:
        ours, theirs = memory_pair()
        theirs.write(b"\xff\xff")
        with pytest.raises(LinkError) as caught:
            await accept(ours, identity(1), known)
        assert "wrong length" in caught.value.reason

    asyncio.run(run())


@pytest.mark.parametrize("side", [0, 1])
def test_a_silent_peer_runs_into_the_deadline(side: int) -> None:
    async def run() -> None:
        clock = ManualClock()
        stream, _ = memory_pair()
        work = (
            connect(stream, identity(0), remote(identity(1)), clock=clock)
            if side == 0
            else accept(stream, identity(1), known, clock=clock)
        )
        task = asyncio.ensure_future(work)
        await clock.advance(4.9)
        assert not task.done()
        await clock.advance(0.2)
        await settle()
        with pytest.raises(LinkError) as caught:
            await task
        assert "within 5 s" in caught.value.reason
        assert stream.closed

    asyncio.run(run())


def test_a_recorded_first_message_gives_no_link() -> None:
    """The responder counts a link only when the initiator has used the new key."""

    async def run() -> None:
        record: list[bytes] = []
        ends = Ends()

        def keep(piece: bytes) -> bytes:
            record.append(piece)
            return piece

        ends.streams[0].tamper = keep
        one, two = await ends.links()
        await one.close()
        await two.close()

        clock = ManualClock()
        ours, theirs = memory_pair()
        task = asyncio.ensure_future(accept(ours, identity(1), known, clock=clock))
        for piece in record:
            theirs.write(piece)
        with pytest.raises(LinkError) as caught:
            await task
        assert caught.value.reason in ("wrong tag", "record 0 has a wrong tag")

    asyncio.run(run())


def test_what_follows_the_confirmation_in_the_same_piece_is_not_lost() -> None:
    async def run() -> None:
        ends = Ends()
        ends.streams[0].held = False
        pieces: list[bytes] = []

        def batch(piece: bytes) -> bytes | None:
            pieces.append(piece)
            return piece if len(pieces) < 3 else None

        ends.streams[0].tamper = batch
        accepting = asyncio.ensure_future(accept(ends.streams[1], identity(1), known))
        one = await connect(ends.streams[0], identity(0), remote(identity(1)))
        one.post(1, 2, 3, b"early")
        await settle()
        assert not accepting.done()
        ends.streams[0].inject(b"".join(pieces[2:]))
        two = await accepting
        message = await Inbox(two).receive()
        assert (message.kind, message.bundle, message.step) == (1, 2, 3)
        assert message.payload == b"early"
        ends.streams[0].tamper = None
        await one.close()
        await two.wait_closed()

    asyncio.run(run())


def test_cancelling_closes_the_stream() -> None:
    async def run() -> None:
        stream, _ = memory_pair()
        task = asyncio.ensure_future(connect(stream, identity(0), remote(identity(1))))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.closed

    asyncio.run(run())


def test_remote_identities_are_checked() -> None:
    for index, key in ((3, bytes(32)), (0, bytes(31))):
        with pytest.raises(Exception, match="peer is"):
            RemoteIdentity(index, key)

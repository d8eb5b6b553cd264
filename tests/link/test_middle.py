"""Somebody in the middle of a pair's link: a stranger, or the third party with its own keys.

TLS would let the third party in, since its certificate leads to an authority of the deployment;
nothing here depends on TLS. Whoever sits there can pass everything on, or end the link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.link import (
    GATEWAY,
    Hello,
    Inbox,
    Link,
    LinkError,
    LocalIdentity,
    MemoryStream,
    RemoteIdentity,
    accept,
    connect,
    memory_pair,
)
from libmpc.link.hello import REKEYS_SINCE, prologue
from tests.link.support import DEPLOYMENT, Ends, identity, known, remote, versions
from tests.manual_clock import settle

STRANGER = X25519PrivateKey.from_private_bytes(b"s" * 32)
Change = Callable[[bytes], bytes | None]


async def refused(initiator: object, responder: object) -> list[str]:
    """Neither side gets a link; why, by their own logs."""
    sides = await asyncio.gather(initiator, responder, return_exceptions=True)  # type: ignore[call-overload]
    assert all(isinstance(side, LinkError) for side in sides), sides
    return [side.reason for side in sides]


class Relay:
    """Two streams, and a man in the middle who passes on what he likes."""

    def __init__(self) -> None:
        self.left, self._near = memory_pair()
        self._far, self.right = memory_pair()
        self.to_right: Change = lambda piece: piece
        self.to_left: Change = lambda piece: piece
        self.seen: list[bytes] = []
        self._near.attach(_Sink(self, self._far, lambda piece: self.to_right(piece)))
        self._far.attach(_Sink(self, self._near, lambda piece: self.to_left(piece)))


class _Sink:
    def __init__(self, relay: Relay, out: MemoryStream, change: Change) -> None:
        self._relay, self._out, self._change = relay, out, change

    def on_data(self, chunk: object) -> None:
        piece = bytes(chunk)  # type: ignore[call-overload]
        self._relay.seen.append(piece)
        changed = self._change(piece)
        if changed:
            self._out.write(changed)

    def on_end(self, error: LinkError | None) -> None:
        self._out.cut()


def test_who_passes_everything_on_learns_nothing_and_can_change_nothing() -> None:
    async def run() -> None:
        relay = Relay()
        one, two = await asyncio.gather(
            connect(relay.left, identity(0), remote(identity(1))),
            accept(relay.right, identity(1), known),
        )
        await settle()
        one.post(1, 2, 3, b"a masked value")
        assert (await Inbox(two).receive()).payload == b"a masked value"
        seen = b"".join(relay.seen)
        for secret in (b"a masked value", one.stream_secret, one.rerandomise_secret):
            assert secret not in seen
        relay.to_right = lambda piece: piece[:-1] + bytes([piece[-1] ^ 1])
        one.post(1, 2, 4, b"another")
        await asyncio.wait_for(two.wait_closed(), 5)
        assert two.error is not None
        assert "wrong tag" in two.error.reason

    asyncio.run(run())


@pytest.mark.parametrize("thief", [0, 2, GATEWAY])
def test_the_third_party_answers_in_party_1s_place(thief: int) -> None:
    """With its own true key, under its own index, or under index 1."""

    async def run() -> None:
        for claimed in ({thief} - {0, GATEWAY}) | {1}:
            stolen = replace_index(identity(thief), claimed)
            ours, theirs = memory_pair()
            whys = await refused(
                connect(ours, identity(0), remote(identity(1))), accept(theirs, stolen, known)
            )
            assert "somebody else" in whys[0]

    asyncio.run(run())


def replace_index(local: LocalIdentity, index: int) -> LocalIdentity:
    return LocalIdentity(index, local.private_key, local.deployment)


@pytest.mark.parametrize(("claimed", "wanted"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("thief", [0, 1, 2, GATEWAY, None])
def test_another_knocks_in_a_partys_place(claimed: int, wanted: int, thief: int | None) -> None:
    """Whoever it is, a key counts under its own index only."""
    if thief == claimed:
        return
    key = STRANGER if thief is None else identity(thief).private_key

    async def run() -> None:
        ours, theirs = memory_pair()
        whys = await refused(
            connect(ours, LocalIdentity(claimed, key, DEPLOYMENT), remote(identity(wanted))),
            accept(theirs, identity(wanted), known),
        )
        assert "unknown static key" in whys[1]

    asyncio.run(run())


@pytest.mark.parametrize("key", [STRANGER, identity(2).private_key])
def test_the_right_hello_without_the_right_key(key: X25519PrivateKey) -> None:
    """Hellos are in clear, so anybody can repeat party 1's; the handshake asks for its key."""

    class Parrot(LocalIdentity):
        @property
        def public_key(self) -> bytes:
            return identity(1).public_key

    async def run() -> None:
        ours, theirs = memory_pair()
        whys = await refused(
            connect(ours, identity(0), remote(identity(1))),
            accept(theirs, Parrot(1, key, DEPLOYMENT), known),
        )
        assert "wrong tag" in whys[1]

    asyncio.run(run())


def test_a_link_meant_for_party_2_is_led_to_party_1() -> None:
    """Both are genuine, and party 1 knows party 0: but party 0 wanted somebody else."""

    async def run() -> None:
        relay = Relay()
        whys = await refused(
            connect(relay.left, identity(0), remote(identity(2))),
            accept(relay.right, identity(1), known),
        )
        assert "somebody else" in whys[0]

    asyncio.run(run())


def test_records_of_another_link_do_not_fit() -> None:
    """The third party puts what it got from party 0 into the link of 0 and 1."""

    async def run() -> None:
        relay, with_dealer = Relay(), Ends(responder=identity(2))
        one, two = await asyncio.gather(
            connect(relay.left, identity(0), remote(identity(1))),
            accept(relay.right, identity(1), known),
        )
        kept: list[bytes] = []
        with_dealer.streams[0].tamper = lambda piece: kept.append(piece) or piece  # type: ignore[func-returns-value]
        to_dealer, _ = await with_dealer.links()
        to_dealer.post(1, 2, 3, b"for the dealer")
        await settle()
        relay.to_right = lambda piece: kept[-1]
        Inbox(two)  # which begins to read
        one.post(1, 2, 3, b"for party 1...")
        await asyncio.wait_for(two.wait_closed(), 5)
        assert two.error is not None

    asyncio.run(run())


def test_each_handshake_message_fits_its_own_handshake_only() -> None:
    """Pieces of an earlier handshake of the same two are of no use in a later one."""

    async def earlier() -> list[bytes]:
        relay = Relay()
        first, second = await asyncio.gather(
            connect(relay.left, identity(0), remote(identity(1))),
            accept(relay.right, identity(1), known),
        )
        await first.close()
        await second.close()
        return relay.seen

    async def run() -> None:
        old = await earlier()
        for position in range(4):  # hello, hello, first and second message
            relay = Relay()
            passed: list[bytes] = []

            def change(piece: bytes, so_far: list[bytes] = passed, at: int = position) -> bytes:
                so_far.append(piece)
                return old[at] if len(so_far) == at + 1 else piece

            relay.to_right = relay.to_left = change
            await refused(
                connect(relay.left, identity(0), remote(identity(1))),
                accept(relay.right, identity(1), known),
            )

    asyncio.run(run())


# ---- versions


def _lowered(piece: bytes, highest: int) -> bytes:
    if piece[2:6] != b"LMPC":
        return piece
    hello = Hello.parse(piece[2:])
    older = replace(hello.versions, lowest=0, highest=highest)
    return piece[:2] + replace(hello, versions=older).encode()


@pytest.mark.parametrize("both", [False, True])
def test_nobody_in_the_middle_can_bring_back_an_old_version(both: bool) -> None:
    """Else the frame keys would never be replaced: both ends speak 1.1, and both hear 1.0."""

    async def run() -> None:
        relay = Relay()
        relay.to_right = lambda piece: _lowered(piece, 0)
        if both:
            relay.to_left = lambda piece: _lowered(piece, 0)
        whys = await refused(
            connect(relay.left, identity(0), remote(identity(1))),
            accept(relay.right, identity(1), known),
        )
        assert "wrong tag" in whys[1]

    asyncio.run(run())


def test_the_whole_spans_of_both_sides_are_bound_and_not_only_what_came_of_them() -> None:
    """Spans that lead to the same minor are different handshakes all the same."""
    spans = [(0, 1), (1, 1), (0, 1, 9), (0, 2), (1, 7)]
    hellos = [replace(identity(0), versions=versions(*s[:2])).hello().encode() for s in spans]
    theirs = [replace(identity(1), versions=versions(*s[:2])).hello().encode() for s in spans]
    bound = {prologue(a, b, 1) for a in set(hellos) for b in set(theirs)}
    assert len(bound) == len(set(hellos)) * len(set(theirs))
    assert prologue(hellos[0], theirs[0], 0) != prologue(hellos[0], theirs[0], 1)


@pytest.mark.parametrize(("theirs", "minor"), [((0, 0), 0), ((0, 1), 1), ((0, 5), 2)])
def test_the_minor_that_was_agreed_on_is_the_one_in_use(
    theirs: tuple[int, int], minor: int
) -> None:
    async def run() -> None:
        ends = Ends(initiator=identity(0, versions=versions(*theirs)))
        links = await ends.links()
        for link in links:
            assert link.version == (1, minor)
            assert link._out.sealer._key._rekeys is (minor >= REKEYS_SINCE)
            await link.close()

    asyncio.run(run())


# ---- keys that are being replaced


def test_several_keys_of_a_peer_will_do_and_the_proven_one_is_known() -> None:
    async def run() -> None:
        old, new = identity(1), identity(1, private_key=STRANGER)
        wanted = RemoteIdentity(1, old.public_key, (new.public_key,))
        for responder in (old, new):
            ours, theirs = memory_pair()
            one, two = await asyncio.gather(
                connect(ours, identity(0), wanted), accept(theirs, responder, known)
            )
            assert isinstance(one, Link)
            assert one.peer_key == responder.public_key
            await one.close()
            await two.close()
        only_new = RemoteIdentity(1, new.public_key)
        ours, theirs = memory_pair()
        whys = await refused(connect(ours, identity(0), only_new), accept(theirs, old, known))
        assert "somebody else" in whys[0]

    asyncio.run(run())

"""Two ends of a link, for tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.clock import Clock
from libmpc.link import (
    GATEWAY,
    Hello,
    Link,
    LinkError,
    LinkSettings,
    LocalIdentity,
    MemoryStream,
    RemoteIdentity,
    WireVersions,
    accept,
    connect,
    memory_pair,
)
from libmpc.link.handshake import FAILED
from tests.manual_clock import settle

DEPLOYMENT = bytes(range(16))
SECONDS = 20.0


def identity(index: int, **changes: object) -> LocalIdentity:
    """A party or gateway whose key follows from its index."""
    values: dict[str, object] = {
        "private_key": X25519PrivateKey.from_private_bytes(
            bytes([index // 2 + 1]) * 31 + bytes([index])
        ),
        "deployment": DEPLOYMENT,
    }
    return LocalIdentity(index=index, **(values | changes))  # type: ignore[arg-type]


def remote(local: LocalIdentity) -> RemoteIdentity:
    return RemoteIdentity(local.index, local.public_key, triple=local.triple)


def known(hello: Hello) -> RemoteIdentity | None:
    """The lookup of a deployment of three parties and one gateway."""
    everyone = {i: remote(identity(i)) for i in (0, 1, 2, GATEWAY)}
    return everyone.get(hello.index)


@dataclass
class Ends:
    """A pair of streams, and what the two sides made of it: a link or an error."""

    streams: tuple[MemoryStream, MemoryStream] = field(default_factory=memory_pair)
    initiator: LocalIdentity = field(default_factory=lambda: identity(0))
    responder: LocalIdentity = field(default_factory=lambda: identity(1))
    expected: RemoteIdentity | None = None
    clock: Clock | None = None
    settings: LinkSettings | None = None

    async def attempt(self) -> tuple[Link | BaseException, Link | BaseException]:
        first = connect(
            self.streams[0],
            self.initiator,
            self.expected or remote(self.responder),
            clock=self.clock,
            settings=self.settings,
        )
        second = accept(
            self.streams[1], self.responder, known, clock=self.clock, settings=self.settings
        )
        one, two = await asyncio.gather(first, second, return_exceptions=True)
        return one, two

    async def links(self) -> tuple[Link, Link]:
        one, two = await self.attempt()
        assert isinstance(one, Link), one
        assert isinstance(two, Link), two
        return one, two


def versions(lowest: int, highest: int, major: int = 1) -> WireVersions:
    return WireVersions(major, lowest, highest)


async def pair(**arguments: object) -> tuple[Ends, Link, Link]:
    ends = Ends(**arguments)  # type: ignore[arg-type]
    one, two = await ends.links()
    await settle()  # the confirmation is through
    return ends, one, two


async def broken(link: Link) -> LinkError:
    """Wait until the link is over; give the error."""
    await asyncio.wait_for(link.wait_closed(), 5)
    assert link.error is not None
    assert not link.alive
    with pytest.raises(LinkError):
        link.post(1, 0, 0)
    with pytest.raises(LinkError):
        await link.send(1, 0, 0)
    return link.error


def refused(ends: Ends) -> tuple[LinkError, LinkError]:
    """Both sides fail, with the one constant message and closed streams; gives both errors."""

    async def run() -> tuple[object, object]:
        return await ends.attempt()

    one, two = asyncio.run(run())
    assert isinstance(one, LinkError)
    assert isinstance(two, LinkError)
    assert str(one) == str(two) == FAILED
    assert all(stream.closed for stream in ends.streams)
    return one, two

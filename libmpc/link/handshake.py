"""Two hellos and a Noise KK handshake over a fresh stream, giving a link.

Messages (I initiates: the lower index, or a gateway, or a replica)::

    I → R   hello                          both in clear, see hello.py
    R → I   hello
    I → R   e, es, ss                      see noise.py
    R → I   e, ee, se
    I → R   first sealed record, empty     only now R knows that I is there, and not a recording

Two round trips until I has its link.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from libmpc.clock import Clock, SystemClock, within
from libmpc.link.errors import LinkError
from libmpc.link.hello import (
    GATEWAY,
    MAX_FRAME_BYTES,
    Hello,
    HelloError,
    LocalIdentity,
    RemoteIdentity,
    may_initiate,
    prologue,
)
from libmpc.link.noise import HandshakeState, NoiseError
from libmpc.link.reader import StreamReader
from libmpc.link.records import CONFIRMATION_BYTES
from libmpc.link.session import Link
from libmpc.link.stream import ByteStream
from libmpc.link.terms import LinkSettings, LinkTerms

logger = logging.getLogger(__name__)

FAILED = "the handshake with the peer failed; the log of either side says why"
Lookup = Callable[[Hello], RemoteIdentity | None]


async def connect(
    stream: ByteStream,
    local: LocalIdentity,
    remote: RemoteIdentity,
    *,
    clock: Clock | None = None,
    settings: LinkSettings | None = None,
    deadline: float = 5.0,
) -> Link:
    """Make a link to ``remote`` over ``stream``, as the initiator.

    Args:
        deadline: seconds for the whole handshake.

    Raises:
        LinkError: nothing came of it; the stream is closed.
    """
    clock = clock or SystemClock()
    steps = _Handshake(stream, local, clock, settings or LinkSettings())
    return await steps.run(deadline, steps.initiate(remote))


async def accept(
    stream: ByteStream,
    local: LocalIdentity,
    lookup: Lookup,
    *,
    clock: Clock | None = None,
    settings: LinkSettings | None = None,
    deadline: float = 5.0,
) -> Link:
    """Answer whoever has opened ``stream``.

    Args:
        lookup: whom this deployment knows by the index and public key of a hello, or ``None``.
        deadline: seconds for the whole handshake.

    Raises:
        LinkError: nothing came of it; the stream is closed.
    """
    clock = clock or SystemClock()
    steps = _Handshake(stream, local, clock, settings or LinkSettings())
    return await steps.run(deadline, steps.respond(lookup))


class _Frames:
    """Length-prefixed clear frames, for hellos and handshake messages only."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._reader = StreamReader(stream)

    def send(self, body: bytes) -> None:
        self._stream.write(len(body).to_bytes(2, "big") + body)

    async def receive(self) -> bytes:
        size = int.from_bytes(await self.take(2), "big")
        if size == 0:
            raise HelloError("the peer refused")
        if size > MAX_FRAME_BYTES:
            raise HelloError("handshake frame of a wrong length")
        return await self.take(size)

    async def take(self, size: int) -> bytes:
        taken = await self._reader.take(size)
        if len(taken) < size:
            raise HelloError("the peer ended the stream during the handshake")
        return taken

    @property
    def rest(self) -> bytes:
        return self._reader.rest


class _Handshake:
    def __init__(
        self, stream: ByteStream, local: LocalIdentity, clock: Clock, settings: LinkSettings
    ) -> None:
        self._stream = stream
        self._frames = _Frames(stream)
        self._local = local
        self._clock = clock
        self._settings = settings

    async def initiate(self, remote: RemoteIdentity) -> Link:
        own = self._local.hello(remote.triple)
        _check_direction(own, (remote.index, remote.triple))
        sent = own.encode()
        self._frames.send(sent)
        received = await self._frames.receive()
        hello = self._check(Hello.parse(received))
        # SECURITY: the key that the handshake proves is one that the deployment pins.
        if hello.index != remote.index or hello.public_key not in remote.keys:
            raise HelloError(f"wanted party {remote.index}, found somebody else")
        if hello.triple != remote.triple:
            raise HelloError(f"wanted triple {remote.triple}, found triple {hello.triple}")
        minor = own.versions.common(hello.versions)
        noise = self._noise(True, prologue(sent, received, minor), hello.public_key)
        self._frames.send(noise.write_message())
        _expect_empty(noise.read_message(await self._frames.receive()))
        return self._link(LinkTerms(noise.split(), own, hello, minor, initiator=True), None)

    async def respond(self, lookup: Lookup) -> Link:
        own = self._local.hello()
        received = await self._frames.receive()
        hello = self._check(Hello.parse(received))
        _check_direction(hello, (own.index, own.triple))
        minor = own.versions.common(hello.versions)
        remote = lookup(hello)
        # SECURITY: the key that the handshake proves is the one that the deployment pins.
        if remote is None or (remote.index, remote.public_key) != (hello.index, hello.public_key):
            raise HelloError(f"unknown static key of somebody who claims index {hello.index}")
        sent = own.encode()
        self._frames.send(sent)
        noise = self._noise(False, prologue(received, sent, minor), remote.public_key)
        _expect_empty(noise.read_message(await self._frames.receive()))
        self._frames.send(noise.write_message())
        terms = LinkTerms(noise.split(), own, hello, minor, initiator=False)
        # SECURITY: a recorded first message can be played again; a link that it opened would
        # end the epoch. So this side counts a link only when the peer has used the new key.
        return self._link(terms, await self._frames.take(CONFIRMATION_BYTES))

    def _check(self, hello: Hello) -> Hello:
        if hello.deployment != self._local.deployment:
            raise HelloError("the peer belongs to another deployment")
        return hello

    def _noise(self, initiator: bool, prologue: bytes, remote: bytes) -> HandshakeState:
        return HandshakeState(
            initiator=initiator,
            prologue=prologue,
            static=self._local.private_key,
            remote_static=remote,
        )

    def _link(self, terms: LinkTerms, confirmation: bytes | None) -> Link:
        link = Link(self._stream, terms, self._clock, self._settings)
        link.open(confirmation, self._frames.rest)
        return link

    async def run(self, deadline: float, steps: Coroutine[Any, Any, Link]) -> Link:
        try:
            return await within(self._clock, deadline, steps)
        except TimeoutError:
            reason = f"no handshake within {deadline:g} s"
        except (HelloError, NoiseError) as error:
            reason = str(error)
        except LinkError as error:
            reason = error.reason
        except BaseException:
            await self._stream.close()
            raise
        logger.warning("handshake of %s failed: %s", self._local.index, reason)
        # SECURITY: the peer is told that it was refused, never why.
        self._frames.send(b"")
        await self._stream.close()
        raise LinkError(FAILED, reason=reason)


def _check_direction(initiator: Hello, responder: tuple[int, int]) -> None:
    index, triple = responder
    if may_initiate(initiator.index, index, (initiator.triple, triple)):
        return
    what = f"{initiator.index} does not open links to {index}"
    if initiator.triple != triple:
        who = "a gateway that wants" if initiator.index == GATEWAY else "a party of"
        what = f"{who} triple {initiator.triple} has no business with a party of triple {triple}"
    raise HelloError(what)


def _expect_empty(payload: bytes) -> None:
    if payload:
        raise NoiseError("unexpected payload in the handshake")

"""Handshakes and records of a link, and the HTTP/2 endpoint under it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

from libmpc.link import Link, LinkError, MemoryStream, accept, connect, memory_pair
from libmpc.link.hello import Hello, HelloError
from libmpc.link.records import Message, Opener, RecordKey, Sealer
from services.common.http2.asgi import Message as AsgiMessage
from services.common.http2.endpoint import LinkEndpoint
from services.common.http2.limits import MAX_HELD_FRAME_BYTES
from services.common.http2.server_connection import ServerConnection
from tests.fuzz.harness import MIB, Target, WrongError
from tests.fuzz.memory_transport import MemoryTransport
from tests.link.support import identity, known, remote
from tests.services import raw

T = TypeVar("T")
KEY = bytes(range(32))


@cache
def loop() -> asyncio.Runner:
    """One event loop for all inputs."""
    return asyncio.Runner()


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run it, and fail if anything was left to the event loop's handler of exceptions."""
    unhandled: list[dict[str, Any]] = []

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: unhandled.append(what))
        async with asyncio.timeout(30):
            return await work()

    result = loop().run(main())
    if unhandled:
        raise WrongError(f"unhandled: {unhandled[0]}")
    return result


def _hello(data: bytes) -> object:
    found = Hello.parse(data)
    again = found.encode()
    # A later minor version may put more behind it.
    if data[: len(again)] != again:
        raise WrongError("another hello than was sent")
    return found


class _Changed:
    """XORs what passes with a mask, and sends what the mask has more."""

    def __init__(self, mask: bytes) -> None:
        self.mask = mask
        self.changed = False

    def __call__(self, piece: bytes) -> bytes | None:
        mask, self.mask = self.mask[: len(piece)], self.mask[len(piece) :]
        self.changed |= any(mask)
        return bytes(a ^ b for a, b in zip(piece, mask.ljust(len(piece), b"\0"), strict=True))


def _handshake(data: bytes) -> object:
    """Somebody in the middle changes what either side sends, by a mask."""
    first, second = _Changed(data[::2]), _Changed(data[1::2])

    async def work() -> tuple[list[Link | BaseException], bool]:
        one, two = memory_pair()
        one.tamper, two.tamper = first, second
        ends = [
            asyncio.ensure_future(connect(one, identity(0), remote(identity(1)), deadline=2)),
            asyncio.ensure_future(accept(two, identity(1), known, deadline=2)),
        ]
        for _ in range(40):  # both wait for bytes that will never come: end the streams
            await asyncio.sleep(0)
            if all(end.done() for end in ends):
                break
        one.cut()
        two.cut()
        done = await asyncio.gather(*ends, return_exceptions=True)
        changed = first.changed or second.changed  # before anything is sent over a link
        for link in done:
            if isinstance(link, Link):
                await link.close()
        return done, changed

    links, changed = run(work)
    made = [isinstance(link, Link) for link in links]
    # The initiator's link is made before its last record, which may have been changed, arrives.
    if changed and made[1]:
        raise WrongError("a changed handshake gave a link")
    if not all(made):
        raise next(link for link in links if isinstance(link, BaseException))
    return made


def _stranger(data: bytes) -> object:
    """What somebody without keys sends to a responder."""

    async def work() -> object:
        ours, theirs = memory_pair()
        ours.inject(data)
        ours.cut()
        return await accept(theirs, identity(1), known, deadline=2)

    return run(work)


def _first_flight() -> bytes:
    """What a genuine initiator sends first; it holds for no other handshake."""

    async def work() -> bytes:
        sent: list[bytes] = []
        one, two = memory_pair()

        def keep(piece: bytes) -> bytes:
            sent.append(piece)
            return piece

        one.tamper = keep
        links = await asyncio.gather(
            connect(one, identity(0), remote(identity(1))), accept(two, identity(1), known)
        )
        await asyncio.gather(*(link.close() for link in links))
        return b"".join(sent)

    return run(work)


SENT = [Message(9, 1, 2, b"masked"), Message(5, 7, 0, b""), Message(38, 3, 1, bytes(3000))]


def _stream() -> bytes:
    sealer = Sealer(RecordKey(KEY, rekeys=True))
    records = [sealer.seal(m.kind, m.bundle, m.step, (m.payload,)) for m in SENT]
    return b"".join(b"".join(record) for record in records)


def _records(data: bytes) -> object:
    opener, found = Opener(RecordKey(KEY, rekeys=True), 4096), []
    try:
        for start in range(0, len(data), 1000):
            found += list(opener.feed(data[start : start + 1000]))
    finally:
        if found != SENT[: len(found)]:
            raise WrongError("a message that nobody sent")
    if len(found) < len(SENT):
        raise LinkError("cut off")
    return found


class Http2RefusedError(Exception):
    """The connection was ended, with a GOAWAY."""


async def _app(scope: AsgiMessage, receive: Any, send: Any) -> None:
    event = await receive()
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": event["body"][:100]})


async def _on_stream(stream: MemoryStream) -> None:
    await accept(stream, identity(1), known, deadline=0.001)


def _http2(data: bytes) -> object:
    async def work() -> MemoryTransport:
        endpoint = LinkEndpoint(_on_stream)  # type: ignore[arg-type]
        connection = ServerConnection(_app, endpoint, {})
        transport = MemoryTransport()
        connection.connection_made(transport)
        for start in range(0, len(data), 997):
            if transport.closing:
                break
            connection.data_received(data[start : start + 997])
            await asyncio.sleep(0)
        held = len(connection._splitter._begun)
        if held > MAX_HELD_FRAME_BYTES + raw.FIRST_WINDOW:
            raise WrongError(f"{held} bytes of a frame are held")
        for _ in range(4):
            await asyncio.sleep(0)
        goaway = transport.closing
        connection.connection_lost(None)
        await endpoint.close()
        transport.closing = goaway
        return transport

    transport = run(work)
    sent, codes = bytes(transport.sent), []
    while sent:  # what the server says is frames, whatever it has heard
        size, kind = int.from_bytes(sent[:3], "big"), sent[3]
        if len(sent) < 9 + size:
            raise WrongError("the server sent half a frame")
        if kind == raw.GOAWAY:
            codes.append(int.from_bytes(sent[13:17], "big"))
        sent = sent[9 + size :]
    if transport.closing:
        raise Http2RefusedError(f"code {codes}")
    return codes


def _http2_samples() -> list[list[bytes]]:
    client = raw.Raw(None, None)  # type: ignore[arg-type]
    settings = raw.frame(raw.SETTINGS, 0, 0, raw.setting(4, 1 << 20))
    both = raw.END_HEADERS | raw.END_STREAM
    get = [raw.PREFACE, settings, client.request(1, "GET", "/v1/status", both)]
    client = raw.Raw(None, None)  # type: ignore[arg-type]
    post = [
        raw.PREFACE,
        settings,
        client.request(1, "POST", "/v1/size"),
        raw.frame(raw.DATA, 0, 1, b"half"),
        raw.frame(raw.DATA, raw.PADDED, 1, b"\2abc\0\0"),
        raw.frame(raw.PING, 0, 0, bytes(8)),
        raw.credit(0, 5),
        raw.credit(1, 5),
        raw.frame(raw.DATA, raw.END_STREAM, 1),
        raw.frame(raw.RST_STREAM, 0, 1, bytes(4)),
        client.request(3, "GET", "/", both),
    ]
    client = raw.Raw(None, None)  # type: ignore[arg-type]
    link = [
        raw.PREFACE,
        settings,
        client.request(1, "POST", "/link/v1"),
        raw.frame(raw.DATA, 0, 1, bytes(40)),
        raw.credit(1, 1 << 20),
        raw.frame(raw.GOAWAY, 0, 0, bytes(8)),
    ]
    return [get, post, link]


def targets() -> list[Target]:
    hello = identity(0, nonce=bytes(16)).hello().encode()
    frames = [
        raw.frame(kind, flags, stream, bytes(size))
        for kind in range(11)
        for flags, stream, size in ((0, 0, 8), (1, 1, 4), (4, 1, 0), (9, 3, 5))
    ]
    return [
        Target("link hello", [[hello]], _hello, (HelloError,)),
        Target("link handshake, in the middle", [[bytes(400)]], _handshake, (LinkError,)),
        Target(
            "link handshake, a stranger",
            [[_first_flight()]],
            _stranger,
            (LinkError,),
            genuine=False,
        ),
        Target("link records", [[_stream()]], _records, (LinkError,)),
        Target(
            "HTTP/2 endpoint",
            _http2_samples(),
            _http2,
            (Http2RefusedError,),
            tokens=frames,
            memory=24 * MIB,
            genuine=False,
        ),
    ]

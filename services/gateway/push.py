"""A push: three sealed shares of a model, each to its party, in two steps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from libmpc.errors import IntegrityError, ServiceError
from libmpc.party.framing import join
from libmpc.party.messages import Commit, Kind
from libmpc.wire.envelope import MAX_MESSAGE_BYTES
from libmpc.wire.errors import WireError
from libmpc.wire.headers import PushHeader
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed
from services.gateway.bodies import Body, Lease
from services.gateway.errors import bad_request, reading
from services.gateway.links import PartyLink
from services.gateway.parties import ALL, Parties, all_of

#: the head needs a little
MAX_ENVELOPE_BYTES = MAX_MESSAGE_BYTES - (1 << 16)
_LENGTH_BYTES = 4


class Pusher:
    """Takes pushes, one at a time: they are long, rare, and hold a model's shares in memory.

    Args:
        timeout: seconds that a party may take to store its share.
    """

    def __init__(self, parties: Parties, timeout: float) -> None:
        self._parties = parties
        self._timeout = timeout
        self._turn = asyncio.Lock()

    async def push(self, body: Body, lease: Lease) -> str:
        """Read and carry out a push; returns the model's digest (hex).

        1. PREPARE at each party as soon as its envelope is there, over a link of its own.
        2. COMMIT at all three with the three receipts.

        Args:
            body: u32 length | PushHeader | three times u32 length | envelope, big-endian.

        Raises:
            ServiceError: a party refused or is lost, or the body is too long.
            WireError: the body is not of that form.
        """
        self._parties.check_up()
        async with self._turn:
            header = await self._header(body)
            receipts = await self._prepare(header, body, lease)
            commit = Commit(model=header.model, receipts=tuple(receipts))
            await self._parties.change(Kind.COMMIT, commit.encode())
            return header.model

    async def _header(self, body: Body) -> PushHeader:
        size = await _length(body)
        if size > PushHeader.MAX_BYTES:
            raise WireError(f"the push header has more than {PushHeader.MAX_BYTES} bytes")
        return PushHeader.parse(await body.exactly(size))

    async def _prepare(self, header: PushHeader, body: Body, lease: Lease) -> list[Signed]:
        tasks: list[asyncio.Task[Signed]] = []
        with _cancelling(tasks):
            for party in ALL:
                size = await _length(body)
                if size > MAX_ENVELOPE_BYTES:
                    raise bad_request(f"a share has more than {MAX_ENVELOPE_BYTES} bytes", 413)
                envelope = await body.exactly(size, lambda: _check(tasks))
                work = self._store(self._parties.links[party], header, envelope, lease)
                tasks.append(asyncio.ensure_future(work))
                del envelope
            await body.end()
            return await all_of(tasks)

    async def _store(
        self, link: PartyLink, header: PushHeader, envelope: bytearray, lease: Lease
    ) -> Signed:
        size = len(envelope)
        session = await link.second()
        try:
            # Whatever still names the envelope here would keep it while the sealed copy is sent.
            asking = session.ask(
                Kind.PREPARE, *join(header.encode(), envelope), timeout=self._timeout
            )
            del envelope
            answer = await asking
        finally:
            await session.close()
            lease.give_back(size)
        with reading(link.party):
            signed = Signed.parse(answer)
            receipt = Receipt.parse(signed.document)
        if (receipt.party, receipt.model) != (link.party, header.model):
            text = f"party {link.party} holds another model than the push says; push again"
            raise IntegrityError(text, status=422)
        return signed


async def _length(body: Body) -> int:
    return int.from_bytes(await body.exactly(_LENGTH_BYTES), "big")


def _check(tasks: Sequence[asyncio.Task[Signed]]) -> None:
    """Raise what a party has refused, so that nobody sends the rest of a body for nothing."""
    for task in tasks:
        if task.done() and isinstance(error := task.exception(), ServiceError):
            raise error


@contextlib.contextmanager
def _cancelling(tasks: Sequence[asyncio.Task[Signed]]) -> Iterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
            elif not task.cancelled():
                task.exception()  # seen, whatever it is

"""A replica's link to its primary: one question at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from libmpc.clock import Clock, within
from libmpc.link import Buffer, Link, LinkError, Message
from libmpc.party.framing import split
from libmpc.party.handover import (
    END,
    GONE,
    HEADER,
    PIECE,
    Handed,
    MirrorReport,
    MirrorRequest,
    ShareHeader,
)
from libmpc.party.messages import Kind
from libmpc.wire.errors import WireError

#: for one message of an answer; a primary that is silent altogether counts as dead much sooner
ANSWER_SECONDS = 30.0


class PrimaryLink:
    """Asks a primary.

    Args:
        link: has not been started.
        max_bytes: of one share file.
        changed: called when the primary says that something has changed there, and when the link
            is over.
    """

    def __init__(
        self, link: Link, clock: Clock, max_bytes: int, changed: Callable[[], None]
    ) -> None:
        self.link = link
        self._clock = clock
        self._max_bytes = max_bytes
        self._changed = changed
        self._number = 0
        self._asking = False
        self._came = 0  # bytes of the answer
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        link.start(self._take, on_end=self._ended)

    async def report(self, request: MirrorRequest) -> MirrorReport:
        """What is in force there.

        Raises:
            LinkError: no answer came, or one that makes no sense.
        """
        self._ask(Kind.MIRROR, request.encode())
        message = await self._next(Kind.MIRROR)
        self._asking = False
        with _sense():
            return MirrorReport.parse(message.payload)

    async def fetch(self, model: str) -> Handed | None:
        """A share; ``None`` where the primary does not have it either.

        Raises:
            LinkError: it did not come, or makes no sense.
        """
        with _sense():
            return await self._fetch(model)

    async def _fetch(self, model: str) -> Handed | None:
        self._ask(Kind.FETCH, bytes.fromhex(model))
        first = await self._next(Kind.SHARE)
        file = bytearray()
        message = first
        while message.step in (HEADER, PIECE):
            if (message.step == HEADER) != (message is first):
                raise WireError("a share without a header")
            if message is not first:
                file += message.payload
            message = await self._next(Kind.SHARE)
        self._asking = False
        if message.step == GONE:
            return None
        if message.step != END or message is first:
            raise WireError("a share without a header")
        head, document = split(first.payload)
        return Handed(ShareHeader.parse(head), bytes(document), file)

    def _ask(self, kind: Kind, payload: Buffer) -> None:
        self._number += 1
        self._came = 0
        self._asking = True
        self.link.post(kind, self._number, 0, payload)

    async def _next(self, kind: Kind) -> Message:
        try:
            message = await within(self._clock, ANSWER_SECONDS, self._answers.get())
        except TimeoutError:
            raise LinkError("the primary does not answer") from None
        if message is None:
            raise self.link.error or LinkError("the primary has ended the link")
        if message.kind != kind:
            raise LinkError("the primary's answer is to another question")
        return message

    def _ended(self) -> None:
        self._answers.put_nowait(None)
        self._changed()

    def _take(self, message: Message) -> None:
        if message.kind == Kind.CHANGED:
            self._changed()
            return
        self._came += len(message.payload)
        if not self._asking or message.bundle != self._number or self._came > self._max_bytes:
            raise WireError("the primary says more than it was asked for")
        self._answers.put_nowait(message)


@contextlib.contextmanager
def _sense() -> Iterator[None]:
    try:
        yield
    except WireError as error:
        raise LinkError("the primary's answer makes no sense", reason=str(error)) from None

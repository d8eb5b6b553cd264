"""Triple 0's side of the mirror: tells this party's replicas what is in force, and hands it over.

Changes nothing here. A replica is a process of the same organisation, which has proven the
organisation's own handshake key; what it gets it can read with the organisation's storage key only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator

from libmpc.errors import LibmpcError
from libmpc.link import Link, LinkError, Message
from libmpc.party.catalog import Catalog
from libmpc.party.framing import join
from libmpc.party.handover import (
    END,
    GONE,
    HEADER,
    PIECE,
    MirrorReport,
    MirrorRequest,
    ModelInForce,
    header_of,
)
from libmpc.party.messages import Kind
from libmpc.party.store import Record, Store
from libmpc.wire.errors import WireError
from libmpc.wire.signed import Signed

log = logging.getLogger(__name__)

DIGEST_BYTES = 32


class Primary:
    """Serves this party's replicas.

    Args:
        handed: told of each share that leaves, with the replica's triple.
    """

    def __init__(
        self, catalog: Catalog, store: Store, handed: Callable[[Record, int], None]
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._handed = handed
        self._version = 1
        self.links: dict[int, Link] = {}  # by triple
        self._busy: dict[Link, asyncio.Task[None]] = {}

    def changed(self) -> None:
        """Models were pushed, served, stopped, replaced or deleted; before anybody hears of it."""
        self._version += 1
        for link in self.links.values():
            with contextlib.suppress(LinkError):
                link.post(Kind.CHANGED, 0, 0)

    async def serve(self, link: Link) -> None:
        """Serve one replica until its link is over."""
        triple = link.peer_triple
        old = self.links.get(triple)
        self.links[triple] = link
        log.info("triple %d follows this one", triple)
        link.start(lambda message: self._take(link, message))
        try:
            if old is not None:
                await old.close()  # the replica has lost it, or it would not have come back
            await link.wait_closed()
        finally:
            if (task := self._busy.pop(link, None)) is not None:
                task.cancel()
            if self.links.get(triple) is link:
                del self.links[triple]
                log.warning("triple %d does not follow this one any more", triple)

    def _take(self, link: Link, message: Message) -> None:
        # SECURITY: one request at a time, so that no replica can make this party hold more than
        # one block of one share for it.
        if link in self._busy:
            raise WireError("a replica asks before it has been answered")
        work: Coroutine[None, None, None]
        if message.kind == Kind.MIRROR:
            work = self._report(link, message.bundle, MirrorRequest.parse(message.payload))
        elif message.kind == Kind.FETCH and len(message.payload) == DIGEST_BYTES:
            work = self._hand_over(link, message.bundle, bytes(message.payload).hex())
        else:
            raise WireError("an unknown request of a replica; is it newer than this process?")
        self._busy[link] = asyncio.get_running_loop().create_task(self._work(link, work))

    async def _work(self, link: Link, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except LinkError:
            pass
        except LibmpcError as error:
            log.error("triple %d could not be told: %s", link.peer_triple, error)
            self._busy.pop(link, None)
            await link.close()

    def _answered(self, link: Link) -> None:
        # Before the answer leaves: the next request may come at once.
        self._busy.pop(link, None)

    async def _report(self, link: Link, number: int, request: MirrorRequest) -> None:
        version, catalog = self._version, self._catalog
        even = request.known == version
        # Each is replaced as a whole when it changes.
        stored, tombstones = catalog.stored(), catalog.tombstones

        def make() -> bytes:
            listed = {} if even else stored
            models = tuple(_in_force(m, r.command) for m, r in listed.items())
            gone = tuple(_in_force(m, tombstones[m]) for m in request.extra if m in tombstones)
            return MirrorReport(version=version, even=even, models=models, gone=gone).encode()

        body = make() if even and not request.extra else await asyncio.to_thread(make)
        self._answered(link)
        await link.send(Kind.MIRROR, number, 0, body)

    async def _hand_over(self, link: Link, number: int, model: str) -> None:
        record = self._catalog.stored().get(model)
        step = GONE
        if record is not None:
            try:
                key_record, blocks = await asyncio.to_thread(self._store.sealed, model)
                header = header_of(self._store, record, key_record).encode()
                self._handed(record, link.peer_triple)
                await link.send(Kind.SHARE, number, HEADER, *join(header, record.manifest))
                while (block := await asyncio.to_thread(_next, blocks)) is not None:
                    await link.send(Kind.SHARE, number, PIECE, block)
                step = END
            except OSError as error:  # it was deleted meanwhile, or the disk refuses
                log.warning("the share of %r was not handed over: %s", record.name, error)
            except LinkError:
                raise
            except LibmpcError as error:  # damaged here, too
                log.warning("the share of %r was not handed over: %s", record.name, error)
        self._answered(link)
        await link.send(Kind.SHARE, number, step)


def _in_force(model: str, command: bytes | None) -> ModelInForce:
    return ModelInForce(model=model, command=Signed.parse(command) if command else None)


def _next(blocks: Iterator[bytes]) -> bytes | None:
    return next(blocks, None)
